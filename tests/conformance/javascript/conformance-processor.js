// The conformance list's processor in JavaScript: see ../README.md.

import { now, streamTime } from 'tidemill:plugin/clock@0.1.0';
import { get } from 'tidemill:plugin/config@0.1.0';
import { write } from 'tidemill:plugin/log@0.1.0';
import { add } from 'tidemill:plugin/metrics@0.1.0';
import { next } from 'tidemill:plugin/random@0.1.0';
import { Store } from 'tidemill:plugin/state@0.1.0';
import { cancel, set as setTimer } from 'tidemill:plugin/timers@0.1.0';

import { bytes, command, grow, spin, start, text, trap } from './conformance.js';
import { typedProcessor as example } from '../../../examples/javascript/router.js';

let isExample = false;

export const typedProcessor = {
  init(context) {
    start(`${context.processor} ${context.topic} ${context.partition}`);
    isExample = get('example') !== undefined;
    if (isExample) example.init(context);
  },

  process(source, batch) {
    if (isExample) return example.process(source, batch);
    const sent = [];
    batch.forEach((record, index) => obey(source, record, index, sent));
    return sent;
  },

  onTimers(domain, attempt, due) {
    return due.map(({ id, at, payload }, index) => {
      if (text(payload) === 'reject') throw { index, reason: 'reject', message: 'a bad timer' };
      const name = domain === 'event-time' ? 'event' : 'processing';
      const value = bytes(`${name} ${at} ${attempt} ${text(payload)}`);
      return { topic: 'out', key: id, value, headers: [], source: index };
    });
  },
};

function obey(source, record, index, sent) {
  const send = (value, place = { topic: 'out' }) => {
    sent.push({ ...place, key: record.key, value, headers: record.headers, source: index });
  };
  const answer = (...words) => send(bytes(words.join(' ')));
  const [verb, words] = command(record.headers);
  const rest = words.join(' ');
  switch (verb) {
    case 'copy': return send(record.value);
    case 'nothing': return undefined;
    case 'send': {
      const [topic, partition, timestamp] = words;
      return send(record.value, { topic, partition: Number(partition), timestamp: BigInt(timestamp) });
    }
    case 'config': {
      const value = get(rest);
      return send(value === undefined ? undefined : bytes(value));
    }
    case 'where': return answer(source.topic, source.partition, source.attempt, record.offset, record.timestamp);
    case 'log': return write(words[0], words.slice(1).join(' '));
    case 'print': return console.log(rest);
    case 'count': return add(words[0], BigInt(words[1]));
    case 'reject':
    case 'retry':
    case 'fatal': throw { index, reason: verb, message: rest };
    case 'trap': return trap(rest);
    case 'loop': return spin();
    case 'grow': return grow();
    case 'put': return new Store('s').put(bytes(rest), record.value);
    case 'get': return send(new Store('s').get(bytes(rest)));
    case 'delete': return new Store('s').delete(bytes(rest));
    case 'add': return answer(new Store('s').add(bytes(words[0]), BigInt(words[1])));
    case 'scan': {
      const [first, last, direction, limit] = words;
      const page = new Store('s').scan({ first: bytes(first), last: bytes(last) }, direction, Number(limit));
      const entries = page.entries.map(({ key, value }) => `${text(key)}=${text(value)}`);
      return answer(...entries, page.more ? 'more' : 'end');
    }
    case 'timer': return setTimer(`${words[0]}-time`, bytes(words[1]), BigInt(words[2]), record.value);
    case 'cancel': return answer(cancel(`${words[0]}-time`, bytes(words[1])));
    case 'clock': return answer(now(), streamTime() ?? '-');
    case 'random': return answer(next(), next());
    case 'ambient': return answer(Date.now(), Math.random());
    default: throw { index, reason: 'reject', message: `unheard of: ${verb}` };
  }
}
