// A processor that routes JSON events to topics by what they say, and lets each event through once.
//
// Config:
//   routes     where events go: `type=order:orders,type=payment:payments`. The first that fits counts.
//   otherwise  the topic of all others, `unrouted` by default.
//   id         the field that holds an event's id, `id` by default. An id that was seen in the last day is a duplicate.

import { get } from 'tidemill:plugin/config@0.1.0';
import { add } from 'tidemill:plugin/metrics@0.1.0';
import { Store } from 'tidemill:plugin/state@0.1.0';

const DAY_MS = 24n * 60n * 60n * 1000n;

let routes, otherwise, id;

export const typedProcessor = {
  init() {
    routes = parseRoutes(get('routes') ?? '');
    otherwise = get('otherwise') ?? 'unrouted';
    id = get('id') ?? 'id';
  },

  process(source, batch) {
    const seen = new Store('seen');
    const routed = batch.map((record, index) => route(seen, record, index));
    return routed.filter((record) => record !== undefined);
  },

  // It sets no timers.
  onTimers: () => [],
};

function route(seen, record, index) {
  const event = parse(record, index);
  if (event[id] !== undefined) {
    const key = new TextEncoder().encode(JSON.stringify(event[id]));
    if (seen.get(key) !== undefined) {
      add('duplicates', 1n);
      return undefined;
    }
    seen.putUntil(key, new Uint8Array(), record.timestamp + DAY_MS);
  }
  const fits = routes.find(({ field, value }) => String(event[field]) === value);
  const { key, value, headers } = record;
  return { topic: fits?.topic ?? otherwise, key, value, headers, source: index };
}

function parse(record, index) {
  try {
    const event = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(record.value));
    if (event === null || typeof event !== 'object') throw new TypeError('it is no object');
    return event;
  } catch (error) {
    // What is thrown is the contract's fault: it names the record, and says what is to become of it.
    throw { index, reason: 'reject', message: `not an event: ${error.message}` };
  }
}

function parseRoutes(text) {
  return text.split(',').filter((entry) => entry !== '').map((entry) => {
    const [, field, value, topic] = /^([^=:]+)=([^=:]+):([^=:]+)$/.exec(entry) ?? [];
    if (topic === undefined) throw `the config key \`routes\` has \`${entry}\`, which is not field=value:topic`;
    return { field, value, topic };
  });
}
