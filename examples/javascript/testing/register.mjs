// Lets node run plugins: what they import from the broker comes from broker.mjs. For `node --import`.

import { register } from 'node:module';

const hooks = `
  export async function resolve(specifier, context, next) {
    if (!specifier.startsWith('tidemill:plugin/')) return next(specifier, context);
    return { url: ${JSON.stringify(new URL('broker.mjs', import.meta.url).href)}, shortCircuit: true };
  }
`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
