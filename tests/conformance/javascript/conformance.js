// What both kinds of conformance guest share: how they are told what to do, and how they start.

import { get } from 'tidemill:plugin/config@0.1.0';
import { write } from 'tidemill:plugin/log@0.1.0';

const utf8 = new TextEncoder();

export const bytes = (text) => utf8.encode(text);
export const text = (value) => new TextDecoder('utf-8', { fatal: true }).decode(value);

/** The first word of the header `do`, `copy` without one, and the words behind it. */
export function command(headers) {
  const header = headers.find(({ key }) => key === 'do');
  const [verb, ...words] = header === undefined ? ['copy'] : text(header.value).split(' ');
  return [verb, words];
}

/** Does what the config key `init` says, and says who the instance is. */
export function start(whoami) {
  const [verb, ...words] = (get('init') ?? '').split(' ');
  // The contract's error is thrown as it is; an Error is a trap.
  if (verb === 'refuse') throw words.join(' ');
  if (verb === 'trap') trap(words.join(' '));
  if (verb === 'loop') spin();
  write('info', `started ${whoami}`);
}

/** Breaks. The tool's code would lose the words of an Error that nobody catches: see ../README.md. */
export function trap(words) {
  write('error', words);
  throw new Error(words);
}

export function spin() {
  for (;;);
}

/** More than the limit that the tests set. */
export function grow() {
  return new Uint8Array(1 << 30).fill(1);
}
