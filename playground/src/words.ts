// "What you see": sentences made of the present numbers, never of what ought to come out.

import { short } from "./draw/plot";
import { GaussianNorm, mean, quantile } from "./measures";
import { labels, type Picture } from "./picture";
import type { State } from "./state";

const times = (ratio: number) =>
  ratio < 1.05 ? "about as" : `${short(Number(ratio.toPrecision(2)))} times as`;

/** The losses: who is ahead, by how much, and in how many of the seeds. */
export function race(picture: Picture, state: State): string {
  const at = picture.measured(state.at);
  const losses = picture.losses.get(at);
  if (!losses || losses.length < 2) return "";
  const names = labels(state);
  const lost = losses.map((ofSeeds) => ofSeeds.filter(Number.isNaN).length);
  const when = at === 0 ? "At the start" : `After ${at} steps`;
  if (lost[0] || lost[1]) {
    const words = names.flatMap((name, i) =>
      lost[i] ? [`${name} has diverged${state.seeds > 1 ? ` in ${lost[i]} of ${state.seeds} seeds` : ""}`] : [],
    );
    return `${when}, <b>${words.join(" and ")}</b>: the steps were too long. Try a smaller rate, or larger batches.`;
  }
  const means = losses.map(mean);
  if (at === 0) return `${when}, both have the same weights, and the loss ${short(means[0]!)}.`;
  const [low, high] = means[0]! <= means[1]! ? [0, 1] : [1, 0];
  const ratio = means[high]! / means[low]!;
  const ahead = losses[low]!.filter((loss, seed) => loss < losses[high]![seed]!).length;
  if (ratio < 1.05)
    return `${when}, the mean losses of ${names[0]} and ${names[1]} are within 5 %: ${short(means[0]!)} and ${short(means[1]!)}.`;
  return (
    `${when}, <b class="${low ? "b" : "a"}">${names[low]}</b> has a loss of <b>${short(means[low]!)}</b>; ` +
    `that of <b class="${high ? "b" : "a"}">${names[high]}</b> is ${times(ratio)} large` +
    (state.seeds > 1 ? ` (${names[low]} is lower in ${ahead} of ${state.seeds} seeds).` : ".")
  );
}

/** Curvature along the steps that were made. */
export function bends(picture: Picture, state: State): string {
  const at = picture.measured(state.at);
  const [a, b] = picture.curvatures(at) as [number, number];
  if (!Number.isFinite(a) || !Number.isFinite(b)) return "";
  const names = labels(state);
  const [flat, steep] = a <= b ? [0, 1] : [1, 0];
  const [least, most] = [Math.min(a, b), Math.max(a, b)];
  if (least <= 0)
    return `Along their own steps up to here, the median curvature is ${short(a)} for ${names[0]} and ${short(b)} for ${names[1]}.`;
  return (
    `Along its own steps up to here, the loss curves <b>${times(most / least)} strongly</b> for ${names[steep]} ` +
    `as for ${names[flat]} (medians ${short(most)} and ${short(least)}).`
  );
}

/** Robust condition numbers at the chosen step. */
export function condition(picture: Picture, state: State): string {
  const [a, b] = picture.conditions() as [number, number];
  if (!Number.isFinite(a) || !Number.isFinite(b)) return "";
  const names = labels(state);
  const where = picture.spectrum.step === 0 ? "At the start" : `At step ${picture.spectrum.step}`;
  if (picture.spectrum.step === 0)
    return `${where}, the steepest weight’s curvature is R = ${short(a)} times the median one.`;
  return `${where}, the steepest weight’s curvature is R = ${short(a)} times the median one where ${names[0]} is, and ${short(b)} times where ${names[1]} is.`;
}

/** The tail of the gradient noise: its 99 % quantile over its median, against Gaussian noise. */
export function tail(picture: Picture, state: State): string {
  const sample = picture.noise?.samples[0];
  if (!sample || !picture.noise || !Number.isFinite(sample.scale)) return "";
  const reference = new GaussianNorm(1, sample.degrees);
  const gaussian = reference.quantile(0.99) / reference.quantile(0.5);
  const measured = quantile(sample.norms, 0.99) / quantile(sample.norms, 0.5);
  const { step, methods } = picture.noise;
  const where = step === 0 ? "At the start" : `At step ${step}, where ${labels(state)[methods[0]!]} is`;
  const verdict =
    measured > 1.1 * gaussian ? ": a heavy tail" : measured < gaussian / 1.1 ? ": a light tail" : "";
  return (
    `${where}, one batch in a hundred has gradient noise of more than ${short(Number(measured.toPrecision(2)))} times the median; ` +
    `with Gaussian noise it would be ${short(Number(gaussian.toPrecision(2)))} times${verdict}.`
  );
}

export function whatYouSee(picture: Picture, state: State): string {
  return [race, bends, condition, tail].map((say) => say(picture, state)).filter(Boolean).join(" ");
}
