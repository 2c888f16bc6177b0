// What the broker gives to plugins, in memory: the functions that the examples import.

export const config = new Map();
export const counters = new Map();
export const stores = new Map();

export const get = (key) => config.get(key);

export function add(counter, value) {
  counters.set(counter, (counters.get(counter) ?? 0n) + value);
}

export class Store {
  #entries;

  constructor(name) {
    if (!stores.has(name)) stores.set(name, new Map());
    this.#entries = stores.get(name);
  }

  get(key) {
    return this.#entries.get(Buffer.from(key).toString('hex'))?.value;
  }

  putUntil(key, value, expires) {
    this.#entries.set(Buffer.from(key).toString('hex'), { value, expires });
  }
}

/** Forgets everything, and sets the config. */
export function deploy(settings) {
  for (const map of [config, counters, stores]) map.clear();
  for (const [key, value] of Object.entries(settings)) config.set(key, value);
}

/** A record as a processor gets it. */
export function record(value, more = {}) {
  const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value;
  return { offset: 0n, timestamp: 1000n, key: undefined, value: bytes, headers: [], ...more };
}
