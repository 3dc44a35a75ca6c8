// Explanations: of each control and picture, and a tour of five minutes.

import { short } from "./draw/plot";
import { OPTIMIZERS } from "./optimizers";
import { labels, type Picture } from "./picture";
import { method, PRESETS, type State } from "./state";
import { bends, condition, race, tail } from "./words";

export const EXPLANATIONS: Record<string, string> = {
  preset: "The settings of the paper, with the learning rates that its public code uses (those of softmax were searched). Batch, seeds and steps stay as they are; the paper has batches of 1000 and 10,000 steps. Its rates for 6 and 8 layers are close to too long: some seeds diverge, and more of them with small batches.",
  layers: "L: how many layers of attention. Each has a value matrix P and a key-query matrix Q of d × d weights, and nothing else.",
  dim: "d: the length of the vectors x.",
  context: "n: how many examples (x, y) a prompt has before the query. With fewer examples than about d the task cannot be solved exactly.",
  law: "How the vectors x are drawn. “Heavy-tailed” has a random direction and a length whose square is Gamma(k)-distributed with variance 10: at small k most x are tiny and a few are very long.",
  tail: "k of Gamma(k). Small k is a heavy tail; k = 0.1 is Setting 3 of the paper. At k = 2.5 and d = 5, x is exactly normal.",
  softmax: "Off: linear attention, the paper’s model. On: softmax attention, which needs whole prompts instead of their moments and takes many times as long.",
  batch: "Fresh prompts in each step’s gradient. Larger batches have less gradient noise.",
  clip: "Gradients longer than this are shortened to it before the optimizer sees them. The paper clips at 1 (0.1 on the sphere).",
  seeds: "How often everything is repeated with other initial weights and other prompts. Lines are means; bands reach from the lowest to the highest seed.",
  steps: "Updates of each run.",
  rate: "The length of the steps. Each optimizer needs its own: see how the loss depends on it by dragging over the axis “learning rate”.",
  beta: "How long running means remember: a mean with 0.9 is over about the last ten steps.",
  loss: "Mean squared error on 1000 prompts that are always the same, on a log axis. Lines are means over seeds, bands reach from the lowest to the highest seed. Click, or use the arrow keys, to move the other pictures to that step; Escape follows the training again.",
  sensitivity: "Each mark is a whole training at that learning rate: mean over seeds of the final loss, × where a run diverged. Drag over rates to train with them. Click on a mark to use its rate. Triangles below the axis are the rates in use.",
  sweep: "Trains both optimizers with all seeds at each of the sliders’ rates, and marks the final losses. The best rates of both make a fair race.",
  smoothness: "Directional smoothness: how strongly the loss curves along the step that was really made, uᵀHu for the step’s direction u, with its sign. Where this is small, longer steps still go downhill. Measured exactly, on the fixed prompts; the axis is logarithmic away from 0.",
  spectrum: "Eigenvalues of the exact Hessian for the first seed: how strongly the loss curves along each of its axes; the axis upwards is logarithmic away from 0. The last layer’s P never reaches the prediction, which makes a stretch of exact zeros. R, for each optimizer, is the robust condition number, the largest over the median |Hᵢᵢ|: how uneven the curvatures of the weights are; median over seeds.",
  noise: "Gradients of 1000 batches minus the true gradient (mean over 20,000 prompts), for the first seed. Filled: how often each norm occurs. Line: the norm of Gaussian noise with the same covariance. Both are divided by their medians. Corner: quantiles against each other, on log axes; dots above the diagonal on the right are a tail heavier than Gaussian. Shown at the start, or at the step that you chose.",
  heat: "The weights themselves, first seed: purple is positive, orange negative. One row for each optimizer, all layers from left to right.",
  play: "Train, or stop for a while. Key: space.",
  step: "One update of every run. Key: s.",
  restart: "Train again from step 0. The same seeds give the same numbers. Key: r.",
  copy: "The same runs with the attnscape package: a command for the shell, or Python, where attnscape is installed (its README says how). The numbers agree to about five digits; where steps are so long that rounding errors grow, the curves part in time.",
  share: "Copies the address of this page, which holds all settings.",
};

export function rule(name: keyof typeof OPTIMIZERS): string {
  return `${OPTIMIZERS[name].label}: ${OPTIMIZERS[name].rule}.`;
}

interface Stop {
  title: string;
  /** What the page changes to when the stop is reached. */
  change: Partial<State>;
  panel: string;
  say: (picture: Picture, state: State) => string;
}

const paper = PRESETS["setting-1"]!.state;

export const TOUR: readonly Stop[] = [
  {
    title: "The race",
    change: { ...paper, at: null },
    panel: "loss",
    say: (picture, state) =>
      "A tiny Transformer reads a prompt of 20 examples of an unknown linear function, then a query, and has to say the query’s value. Both optimizers start from the same weights and see the same prompts; only the update rule differs. " +
      race(picture, state),
  },
  {
    title: "Uneven curvature",
    change: {},
    panel: "spectrum",
    say: (picture, state) =>
      "SGD has one step length for all weights. It must be short enough for the direction in which the loss curves most, and then it is too short for all the flat ones. Adam divides every weight’s step by the recent size of that weight’s own gradient: steep weights get shorter steps, flat ones longer. (That helps as far as the steep directions are those of single weights.) " +
      condition(picture, state),
  },
  {
    title: "Flatter paths",
    change: {},
    panel: "smoothness",
    say: (picture, state) =>
      "How strongly does the loss curve along the steps that each optimizer really makes? The less it curves, the longer a step may be before it goes uphill again. Click on the loss to look at other steps. " +
      bends(picture, state),
  },
  {
    title: "Noise with a heavy tail",
    change: { ...PRESETS["setting-3"]!.state, at: null },
    panel: "noise",
    say: (picture, state) =>
      "Here most vectors x are tiny and a few are very long. A batch that has a long one gives a gradient far from the true one. Through SGD’s step it acts with its full (clipped) length; in Adam’s it also enters the divisor, so that with β₁ = β₂ no weight ever moves farther than the rate. " +
      tail(picture, state) + " " + race(picture, state),
  },
  {
    title: "Is it only the rate?",
    change: { ...paper, at: null },
    panel: "sensitivity",
    say: (picture, state) =>
      "A fair race lets both choose their rate. Drag over the axis “learning rate” (or press “Try all rates”) and compare the lowest points, and how wide the valleys are. " +
      best(picture, state),
  },
  {
    title: "Which part of Adam does it?",
    change: { ...paper, methods: [method("sign", 0.02), method("adam", 0.02)], at: null },
    panel: "loss",
    say: (picture, state) =>
      "Sign descent keeps nothing of the gradient but its signs: every weight moves by the same length, and nothing is remembered. Compare it with SGDM’s loss at the first stop: how much of Adam’s lead is left? Then try Lion, the sign of a running mean, or Muon, which evens out whole matrices. " +
      race(picture, state),
  },
];

/** The best rate of each optimizer in a sweep: with the smallest loss of its worst seed. */
function best(picture: Picture, state: State): string {
  const found = labels(state).map((name, method) => {
    const [first] = [...picture.sweep]
      .map(([rate, { losses }]) => ({ rate, loss: Math.max(...losses[method]!) }))
      .filter(({ loss }) => Number.isFinite(loss))
      .sort((x, y) => x.loss - y.loss);
    return first && `${name}’s is best at rate ${first.rate} (${short(first.loss)})`;
  });
  return found.every(Boolean) ? `So far, the loss of the worst seed: ${found.join(", ")}.` : "";
}
