// The same runs as text: the command `attnscape train`, and lines of Python.

import { type Method, OPTIMIZERS } from "./optimizers";
import { type Config, measureEvery, scaleOf } from "./protocol";

/** A method under a name of its own: how the command line and Python call it. */
interface Named {
  name: string;
  method: Method;
  rates: number[];
  /** Whether its betas are those that the name has by default. */
  plain: boolean;
}

/** The different optimizers; one that is on both sides with two rates has both. */
function named(config: Config): Named[] {
  const found: Named[] = [];
  for (const method of config.methods) {
    const { betas } = OPTIMIZERS[method.name];
    const plain = betas.every(([, value], i) => value === method.betas[i]);
    const words = [method.name, ...(plain ? [] : method.betas.map((beta) => `${beta}`.replace(".", "_")))];
    const name = words.join("_");
    const same = found.find((each) => each.name === name);
    if (!same) found.push({ name, method, plain, rates: [method.rate] });
    else if (!same.rates.includes(method.rate)) same.rates.push(method.rate);
  }
  return found;
}

const partial = ({ name, betas }: Method) =>
  `partial(${name}, ${OPTIMIZERS[name].betas.map(([word], i) => `${word}=${betas[i]}`).join(", ")})`;

const FILE = "playground_parts.py";

/** Lines for a shell. Parts that have no option of their own stand in a small file. */
export function command(config: Config): string {
  const methods = named(config);
  const own = methods.filter(({ plain }) => !plain);
  const parts: string[] = [];
  if (own.length) {
    parts.push("from functools import partial", "");
    parts.push(`from attnscape.optimizers import ${importNames(own)}`, "");
    parts.push(...own.map(({ name, method }) => `${name} = ${partial(method)}`));
  }
  if (config.softmax) {
    parts.unshift("from attnscape.models import AttentionTransformer");
    parts.push("", "", "def model(key):");
    parts.push(`    return AttentionTransformer.init(key, layers=${config.layers}, dim=${config.dim})`);
  }
  const optimizers = methods.map(({ name, plain }) => (plain ? name : `${FILE}:${name}`));
  const rates = methods.map(({ name, rates }) => `${name}=${rates.join(",")}`);
  const options = [
    `--dim ${config.dim} --context ${config.context}${config.softmax ? "" : ` --layers ${config.layers}`}`,
    ...covariates(config),
    ...(config.softmax ? [`--model ${FILE}:model`] : []),
    `--optimizers ${optimizers.join(" ")}`,
    `--learning-rates ${rates.join(" ")}`,
    `--seeds ${config.seeds} --steps ${config.steps} --batch ${config.batch} --clip ${config.clip}`,
    `--measure-every ${measureEvery(config.steps)}`,
  ];
  const file = parts.length ? [`cat > ${FILE} <<'END'`, ...parts, "END"] : [];
  return [...file, ["attnscape train", ...options].join(" \\\n  ")].join("\n");
}

function covariates({ law, tail }: Config): string[] {
  if (law === "gaussian") return [];
  if (law === "sphere") return ["--covariates sphere"];
  return [`--covariates radial --squared-radius "gamma(${tail}, scale=${scaleOf(tail)})"`];
}

const importNames = (methods: Named[]) =>
  [...new Set(methods.map(({ method }) => method.name))].sort().join(", ");

const float = (value: number) => (Number.isInteger(value) ? `${value}.0` : `${value}`);

/** Lines of Python that end with a table of the final losses. */
export function python(config: Config): string {
  const methods = named(config);
  const model = config.softmax ? "AttentionTransformer" : "LinearTransformer";
  const law = {
    gaussian: "",
    sphere: ", covariates=Sphere()",
    radial: `, covariates=Radial(gamma(${config.tail}, scale=${scaleOf(config.tail)}))`,
  }[config.law];
  const ofTasks = { gaussian: [], sphere: ["Sphere"], radial: ["Radial"] }[config.law];
  const factories = methods.map(({ name, method, plain }) => `"${name}": ${plain ? name : partial(method)}`);
  const rates = methods.map(({ name, rates }) => `"${name}": [${rates.map(float).join(", ")}]`);
  return [
    "from functools import partial",
    "",
    ...(config.law === "radial" ? ["from scipy.stats import gamma", ""] : []),
    `from attnscape import ${[model, "RegressionTask", "train"].join(", ")}`,
    "from attnscape.measures import EvaluationLoss, every",
    `from attnscape.optimizers import ${importNames(methods)}`,
    ...ofTasks.map((name) => `from attnscape.tasks import ${name}`),
    "",
    "result = train(",
    `    RegressionTask(dim=${config.dim}, context=${config.context}${law}),`,
    `    partial(${model}.init, layers=${config.layers}, dim=${config.dim}),`,
    `    {${factories.join(", ")}},`,
    `    {${rates.join(", ")}},`,
    `    range(${config.seeds}),`,
    `    steps=${config.steps},`,
    `    batch=${config.batch},`,
    `    clip=${config.clip ? float(config.clip) : "None"},`,
    `    measures=[EvaluationLoss(every(${measureEvery(config.steps)}))],`,
    ")",
    "print(result.attnscape.summary().to_string())",
  ].join("\n");
}
