"""The paper's figures on real networks, and the linear model beside them.

Modules import PyTorch only inside functions that run or analyse networks, so that the names of the
artifacts can be listed without it.
"""
