// Builds docs/playground.html from the sources beside this file and the kernels.
//
//   node build.mjs           builds it
//   node build.mjs digest    prints the digest of the sources

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(here);
const page = join(root, "docs", "playground.html");

// All files whose content the page depends on, sorted by their names.
function sources() {
  const inside = (folder) =>
    readdirSync(folder, { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  const kernels = inside(join(root, "kernels")).filter(
    (name) => name.endsWith(".hpp") || name.endsWith("sampler.cpp"),
  );
  const own = ["build.mjs", "kernel.cpp", "package.json", "package-lock.json", "tsconfig.json"];
  const files = [
    ...own.map((name) => join(here, name)),
    ...inside(join(here, "shim")),
    ...inside(join(here, "src")),
    ...kernels,
  ];
  return files.map((file) => relative(root, file).replaceAll("\\", "/")).sort();
}

function digest(files = sources()) {
  const hash = createHash("sha256");
  for (const name of files) {
    hash.update(`${name}\0`);
    hash.update(readFileSync(join(root, name)));
    hash.update("\0");
  }
  return hash.digest("hex");
}

// Compiles the kernel; returns its WebAssembly, compressed, as text; as it is where
// nothing has changed.
function compileKernel() {
  const made = (name) => join(here, "build", name);
  mkdirSync(made(""), { recursive: true });
  const stamp = digest(sources().filter((name) => !name.includes("/src/")));
  if (existsSync(made("stamp")) && readFileSync(made("stamp"), "utf8") === stamp)
    return readFileSync(made("kernel.txt"), "utf8");
  const options = [
    ...["-std=c++17", "-O3", "-msimd128", "-fno-math-errno", "-fno-rtti"],
    ...["-I", "shim", "kernel.cpp", "-o", "build/kernel.js", "--no-entry"],
    ...["-sMODULARIZE", "-sEXPORT_NAME=createKernel", "-sENVIRONMENT=worker"],
    ...["-sALLOW_MEMORY_GROWTH", "-sFILESYSTEM=0", "-sMALLOC=emmalloc", "-sASSERTIONS=0"],
    "-sEXPORTED_FUNCTIONS=_malloc,_free",
  ];
  // Emscripten's optimizer of JavaScript needs acorn, which Debian keeps here.
  const env = { NODE_PATH: "/usr/share/nodejs", ...process.env };
  execFileSync("em++", options, { cwd: here, env, stdio: "inherit" });
  renameSync(made("kernel.js"), made("kernel.cjs")); // for esbuild
  // A quarter of its size; browsers with WebAssembly's SIMD can decompress it.
  const packed = gzipSync(readFileSync(made("kernel.wasm")), { level: 9 }).toString("base64");
  writeFileSync(made("kernel.txt"), packed);
  writeFileSync(made("stamp"), stamp);
  return packed;
}

async function build() {
  const { build: bundle } = await import("esbuild");
  const wasm = compileKernel();
  execFileSync(process.execPath, [join(here, "node_modules/typescript/bin/tsc"), "--noEmit"], {
    cwd: here,
    stdio: "inherit",
  });
  const bundled = async (entry, define = {}) => {
    const { outputFiles } = await bundle({
      entryPoints: [join(here, "src", entry)],
      bundle: true,
      minify: true,
      write: false,
      format: "iife",
      target: "es2022",
      legalComments: "none",
      charset: "utf8",
      define,
      logLevel: "warning",
    });
    return outputFiles[0].text.trim();
  };
  const worker = await bundled("worker.ts", { KERNEL_WASM: JSON.stringify(wasm) });
  const script = await bundled("page.ts", { WORKER_SOURCE: JSON.stringify(worker) });
  const style = await bundled("style.css");
  const html = readFileSync(join(here, "src", "page.html"), "utf8")
    .replace("<!-- style -->", () => `<style>${style}</style>`)
    .replace("<!-- script -->", () => `<script>${script.replaceAll("</script", "<\\/script")}</script>`)
    .replace("<!-- digest -->", () => `<meta name="sources" content="${digest()}">`);
  writeFileSync(page, html);
  console.log(`${relative(process.cwd(), page)}: ${Math.round(Buffer.byteLength(html) / 1000)} kB`);
}

if (process.argv[2] === "digest") console.log(digest());
else await build();
