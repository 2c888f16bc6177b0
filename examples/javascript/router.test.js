import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { counters, deploy, record, stores } from './testing/broker.mjs';
import { typedProcessor } from './router.js';

const source = { topic: 'events', partition: 0, attempt: 0 };
const process = (...values) => typedProcessor.process(source, values.map((value) => record(value)));
const topics = (...values) => process(...values).map(({ topic }) => topic);

beforeEach(() => {
  deploy({ routes: 'type=order:orders,type=payment:payments,urgent=true:alerts' });
  typedProcessor.init();
});

test('events go where the first route that fits leads', () => {
  const events = ['{"type":"payment"}', '{"type":"order","urgent":true}', '{"urgent":true}', '{"type":"other"}'];
  assert.deepEqual(topics(...events), ['payments', 'orders', 'alerts', 'unrouted']);
});

test('key, value, headers and source stay', () => {
  const headers = [{ key: 'trace', value: undefined }];
  const given = record('{"type":"order"}', { key: new Uint8Array([1]), headers });
  const [sent] = typedProcessor.process(source, [given]);
  assert.deepEqual(sent, { topic: 'orders', key: given.key, value: given.value, headers, source: 0 });
});

test('an id passes once a day', () => {
  assert.deepEqual(topics('{"id":7}', '{"id":"7"}', '{"id":7}'), ['unrouted', 'unrouted']);
  assert.equal(counters.get('duplicates'), 1n);
  const [entry] = stores.get('seen').values();
  assert.equal(entry.expires, 1000n + 86_400_000n);
});

test('what is no event is rejected with its place', () => {
  for (const value of ['[', 'null', '7', new Uint8Array([0xff]), undefined]) {
    assert.throws(() => process('{}', value), (fault) => fault.index === 1 && fault.reason === 'reject');
  }
});

test('routes that cannot be read are refused', () => {
  deploy({ routes: 'type=order' });
  assert.throws(() => typedProcessor.init(), (error) => /`type=order`, which is not field=value:topic/.test(error));
});
