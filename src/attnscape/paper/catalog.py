"""Names and titles of the artifacts as plain text, so that the command line lists them quickly."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

ARTIFACTS = MappingProxyType(
    {
        "fig2": "Adam and SGD with momentum on shallow linear Transformers (Fig. 2, right half)",
        "fig2-searched": ("Adam and SGD with momentum at searched learning rates (beside Fig. 2)"),
        "fig3": "Gradient noise at initialisation (Fig. 3, right half)",
        "tab-condition": "Ratio of robust condition numbers, SGDM over Adam (Fig. 4, right table)",
        "tab-condition-exact": "The same table on the public code's own prompts (needs torch)",
        "fig5": "Directional smoothness of SGD with momentum and Adam (Fig. 5)",
        "fig16": "Directional smoothness against the gradient norm (Fig. 16, right plots)",
        "fig7": "Linear attention and softmax attention, three layers (Fig. 7)",
        "fig8-left": "Separate query and key matrices (Fig. 8, left)",
        "fig8-right": "A larger Transformer: L = 8, d = 20, n = 60 (Fig. 8, right)",
        "fig9": "Loss for covariates with light and heavy tails (Fig. 9)",
        "fig10": "Gradient noise for covariates with light and heavy tails (Fig. 10)",
        "fig11": "Robust condition number for covariates with light and heavy tails (Fig. 11)",
        "fig12": "Loss for different numbers of layers (Fig. 12)",
        "fig13": "Gradient noise for different numbers of layers (Fig. 13)",
        "fig14": "Robust condition number for different numbers of layers (Fig. 14)",
        "fig15": "Nonlinear regression (Fig. 15)",
        "table1": "The settings (Table 1)",
        "table2": "Learning rates (Table 2)",
        "ablation": "What depends on the differences between the public code and the text",
    }
)
# Artifacts beyond the paper's figures, made by `--extended` or if they are named.
EXTENDED: Mapping[str, str] = MappingProxyType(
    {
        "without-momentum": "SGD and Adam with and without momentum (caption of Fig. 2)",
        "fig16-spectral": "The Hessian's spectral norm against the gradient norm (beside Fig. 16)",
        "smoothness-speed": (
            "Gap in directional smoothness and speed-up of Adam over SGDM (section 3.2)"
        ),
        "rotation": "SGDM and Adam in rotated coordinates",
        "batch-size": "The gap between Adam and SGDM against the batch size",
        "edge-of-stability": "Full-batch gradient descent and Adam at the edge of stability",
        "softmax-heads": (
            "Softmax attention with one and two heads beside linear attention (section 3.1)"
        ),
        "attention-scores": (
            "Sparsity of attention scores for orthonormal and other covariates (section 3.1)"
        ),
        "plateaus": (
            "One matrix Q against separate query and key matrices: one drop of the loss, or stairs"
        ),
        "population": "Adam and SGDM with queries and weights integrated out exactly",
        "second-order": (
            "Newton, Gauss-Newton and conjugate gradients with exact curvature beside SGDM and Adam"
        ),
        "landscape-along-training": (
            "The loss landscape along training: blocks, eigenvectors, Gauss-Newton part, single "
            "batches"
        ),
        "schedules": (
            "The ranking of optimizers under schedules of the learning rate and weight decay"
        ),
    }
)
# Artifacts about real networks, which need PyTorch; they are made only if they are named.
NETWORKS = MappingProxyType(
    {
        "side-by-side": "The linear model beside real networks (Fig. 1 to 5 and 16, in numbers)",
        "transfer": "Does the linear model predict the ranking of optimizers on real networks?",
        "fig1": "Adam and SGD on real networks (Fig. 1)",
        "fig2-left": "Adam and SGD with momentum on Transformers (Fig. 2, left half)",
        "fig3-left": "Gradient noise of Transformers at initialisation (Fig. 3, left half)",
        "fig6": "Gradient noise of convolutional networks and Transformers (Fig. 6)",
        "tab-condition-left": "Ratio of robust condition numbers, SGDM over Adam (Fig. 4, left)",
        "fig16-left": "Smoothness against the gradient norm of an LSTM (Fig. 16, left)",
        "momentum": "With and without momentum: the linear model and real networks",
        "full-batch": "Full-batch training of real networks, with and without momentum",
    }
)
# The page's sections: the paper's artifacts, those beyond it, those about real networks, the bench.
BENCH = "bench"
SECTIONS = MappingProxyType(
    {**ARTIFACTS, **EXTENDED, **NETWORKS, BENCH: "Optimizers against each other"}
)
Section = Literal["paper", "extended", "networks", "bench"]


def section_of(name: str) -> Section:
    """The section of the page that an artifact stands in."""
    if name in EXTENDED:
        return "extended"
    return "networks" if name in NETWORKS else "bench" if name == BENCH else "paper"


# What explains an artifact: a page of the site, in docs/explanations.
_EXPLAINED: Mapping[str, str] = MappingProxyType(
    {
        "loss_curves": (
            "fig2 fig2-searched fig7 fig8-left fig8-right fig9 fig12 fig15 table2 ablation "
            "without-momentum rotation batch-size softmax-heads plateaus population second-order "
            "schedules fig1 fig2-left momentum full-batch bench"
        ),
        "heavy_tails": "fig3 fig10 fig13 fig3-left fig6",
        "condition_number": "tab-condition tab-condition-exact fig11 fig14 tab-condition-left",
        "directional_smoothness": "fig5 smoothness-speed",
        "generalised_smoothness": "fig16 fig16-spectral fig16-left",
        "other_measures": "edge-of-stability attention-scores landscape-along-training",
        "prediction": "side-by-side transfer",
        "reduced_form": "table1",
    }
)


def explanation_of(name: str) -> str:
    """The page of `docs/explanations`, without its suffix, that explains what an artifact shows."""
    return next(page for page, names in _EXPLAINED.items() if name in names.split())
