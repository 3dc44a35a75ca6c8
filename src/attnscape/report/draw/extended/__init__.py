"""Drawing of the artifacts beyond the paper's figures."""
