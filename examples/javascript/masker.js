// An interceptor that masks payment card numbers and e-mail addresses in texts on their way to consumers. What is stored stays whole.
//
// Config:
//   unmasked  the principals that see everything, separated by semicolons: `User:auditor;User:billing`.

import { get } from 'tidemill:plugin/config@0.1.0';
import { add } from 'tidemill:plugin/metrics@0.1.0';

const CARD_NUMBERS = /\b\d(?:[ -]?\d){12,18}\b/g;
const ADDRESSES = /\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,}\b/gi;

let unmasked;

export const typedInterceptor = {
  configure() {
    unmasked = new Set((get('unmasked') ?? '').split(';'));
  },

  onSend(origin, batch) {
    return batch.map(() => ({ tag: 'keep' }));
  },

  onConsume(origin, batch) {
    if (unmasked.has(origin.principal)) return batch.map(() => ({ tag: 'keep' }));
    return batch.map(judge);
  },

  onAcknowledgement() {},

  close() {},
};

function judge(record) {
  if (record.value === undefined) return { tag: 'keep' };
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(record.value);
  } catch {
    return refusal(`the value at offset ${record.offset} is no text, so it cannot be masked`);
  }
  const masked = text.replace(CARD_NUMBERS, maskCard).replace(ADDRESSES, '***@***');
  if (masked === text) return { tag: 'keep' };
  add('masked', 1n);
  const { key, headers } = record;
  return { tag: 'replace', val: { key, value: new TextEncoder().encode(masked), headers } };
}

function refusal(message) {
  return { tag: 'reject', val: { code: 'topic-authorization-failed', message } };
}

/** Leaves the last four digits of what passes the check sum of card numbers, and all else alone. */
function maskCard(number) {
  const digits = number.replace(/\D/g, '');
  return passesLuhn(digits) ? `${'*'.repeat(digits.length - 4)}${digits.slice(-4)}` : number;
}

function passesLuhn(digits) {
  const sum = [...digits].reverse().reduce((sum, digit, place) => {
    const doubled = Number(digit) * (place % 2 === 0 ? 1 : 2);
    return sum + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0;
}
