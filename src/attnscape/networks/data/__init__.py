"""Data of the workloads: one function `(source, **sizes)` for each data set.

A source is `packaged` (files of installed packages, or a stand-in where there are none), `hub` (the
Hugging Face hub) or a folder with the files in their standard form. What is really used is the name
of the data.
"""

from attnscape.networks.data.examples import Examples as Examples
from attnscape.networks.data.images import cifar10 as cifar10
from attnscape.networks.data.images import mnist as mnist
from attnscape.networks.data.questions import squad as squad
from attnscape.networks.data.synthetic import imbalanced_classes as imbalanced_classes
from attnscape.networks.data.text import ptb as ptb
from attnscape.networks.data.text import wikitext2 as wikitext2
from attnscape.networks.data.tokens import Tokens as Tokens
