"""Training: makes many runs on shared prompts and measures them at scheduled steps."""

from attnscape.training._arguments import Precision as Precision
from attnscape.training._arguments import check_clip as check_clip
from attnscape.training._arguments import check_seeds as check_seeds
from attnscape.training._dataset import assemble_so_far as assemble_so_far
from attnscape.training._dataset import over_batches as over_batches
from attnscape.training._layout import part_of as part_of
from attnscape.training._some_seeds import WholeTraining as WholeTraining
from attnscape.training._start import Start as Start
from attnscape.training._threads import processors as processors
from attnscape.training._train import train as train
from attnscape.training.checkpoints import Checkpoints as Checkpoints
from attnscape.training.status import Progress as Progress
from attnscape.training.status import Status as Status
from attnscape.training.status import silent as silent
