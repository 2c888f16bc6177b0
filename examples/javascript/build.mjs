// node build.mjs SOURCE WORLD OUT [WIT]: makes a plugin of a JavaScript module.
//
// Modules that the source imports must lie below the working directory. WIT is the contract's directory.

import { writeFile } from 'node:fs/promises';

import { componentize } from '@bytecodealliance/componentize-js';

const [sourcePath, worldName, out, witPath = '../../wit'] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath,
  worldName,
  witPath,
  // A plugin has no network. What else the engine offers costs nothing: console goes to the plugin's log.
  disableFeatures: ['http', 'fetch-event'],
});
await writeFile(out, component);
