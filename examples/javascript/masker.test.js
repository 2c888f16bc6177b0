import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { counters, deploy, record } from './testing/broker.mjs';
import { typedInterceptor } from './masker.js';

const consume = (principal, ...values) =>
  typedInterceptor.onConsume({ principal }, values.map((value) => record(value, { offset: 9n })));
const masked = (text) => {
  const [verdict] = consume('User:alice', text);
  return verdict.tag === 'replace' ? new TextDecoder().decode(verdict.val.value) : verdict.tag;
};

beforeEach(() => {
  deploy({ unmasked: 'User:auditor;User:CN=billing,O=us' });
  typedInterceptor.configure();
});

test('card numbers keep their last four digits', () => {
  assert.equal(masked('paid with 4111 1111 1111 1111.'), 'paid with ************1111.');
  assert.equal(masked('5500-0000-0000-0004'), '************0004');
});

test('numbers that are no card numbers stay', () => {
  assert.equal(masked('order 4111111111111112 of 20261121'), 'keep');
});

test('addresses go', () => {
  assert.equal(masked('{"from":"ann.lee+x@mail.example.org"}'), '{"from":"***@***"}');
  assert.equal(counters.get('masked'), 1n);
});

test('key and headers stay', () => {
  const headers = [{ key: 'trace', value: undefined }];
  const [verdict] = typedInterceptor.onConsume({ principal: 'User:alice' }, [record('a@b.org', { key: 'k', headers })]);
  assert.deepEqual([verdict.val.key, verdict.val.headers], ['k', headers]);
});

test('auditors see everything, and what is stored is not touched', () => {
  for (const principal of ['User:auditor', 'User:CN=billing,O=us']) {
    assert.deepEqual(consume(principal, 'a@b.org', undefined), [{ tag: 'keep' }, { tag: 'keep' }]);
  }
  assert.deepEqual(typedInterceptor.onSend({}, [record('a@b.org')]), [{ tag: 'keep' }]);
});

test('what is no text is refused, and tombstones pass', () => {
  const [refused, kept] = consume('User:alice', new Uint8Array([0xff]), undefined);
  assert.equal(refused.val.code, 'topic-authorization-failed');
  assert.match(refused.val.message, /offset 9/);
  assert.deepEqual(kept, { tag: 'keep' });
});
