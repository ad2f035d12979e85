// Bundles the page and the check: node build.mjs MODULES OUT, where MODULES has node_modules.
import path from 'node:path';
import { createRequire } from 'node:module';

const [modules, out] = process.argv.slice(2).map((folder) => path.resolve(folder));
const { build } = createRequire(path.join(modules, 'package.json'))('esbuild');
const here = (name) => path.join(import.meta.dirname, name);
const common = { bundle: true, logLevel: 'error', nodePaths: [path.join(modules, 'node_modules')], jsx: 'transform' };

await build({
  ...common,
  entryPoints: [here('page.jsx')],
  outfile: path.join(out, 'page.js'),
  loader: { '.svg': 'dataurl', '.ttf': 'empty' },
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
});
await build({
  ...common,
  entryPoints: [here('check.js')],
  outfile: path.join(out, 'check.cjs'),
  platform: 'node',
  inject: [here('dom.js')],
  external: ['jsdom'],
});
