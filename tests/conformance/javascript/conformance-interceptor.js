// The conformance list's interceptor in JavaScript: see ../README.md.

import { get } from 'tidemill:plugin/config@0.1.0';
import { write } from 'tidemill:plugin/log@0.1.0';
import { add } from 'tidemill:plugin/metrics@0.1.0';

import { bytes, command, grow, spin, start, trap } from './conformance.js';
import { typedInterceptor as example } from '../../../examples/javascript/masker.js';

let isExample = false;

export const typedInterceptor = {
  configure(attachment) {
    start(attachment.name);
    isExample = get('example') !== undefined;
    if (isExample) example.configure(attachment);
  },

  onSend(origin, batch) {
    return batch.map((record) => judge('send', origin, record));
  },

  onConsume(origin, batch) {
    if (isExample) return example.onConsume(origin, batch);
    return batch.map((record) => judge('consume', origin, record));
  },

  onAcknowledgement(acknowledgements) {
    for (const { topic, partition, recordCount, outcome } of acknowledgements) {
      write('info', `acknowledged ${topic} ${partition} ${recordCount} ${outcome.val}`);
    }
  },

  close() {
    write('info', 'closed');
  },
};

function judge(path, origin, record) {
  const { key, value, headers } = record;
  const replace = (content) => ({ tag: 'replace', val: { key, value, headers, ...content } });
  const keep = { tag: 'keep' };
  const [verb, words] = command(headers);
  const rest = words.join(' ');
  switch (verb) {
    case 'copy': return replace({});
    case 'keep': return keep;
    case 'drop': return { tag: 'drop' };
    case 'replace': return replace({ value: bytes(rest) });
    case 'erase': return { tag: 'replace', val: { headers: [] } };
    case 'retime': return replace({ timestamp: BigInt(rest) });
    case 'reject': return { tag: 'reject', val: { code: words[0], message: words.slice(1).join(' ') } };
    case 'config': {
      const found = get(rest);
      return replace({ value: found === undefined ? undefined : bytes(found) });
    }
    case 'where': {
      const { principal, clientId, topic, partition, transactional } = origin;
      const place = [path, principal, clientId, topic, partition, transactional ? 'yes' : 'no'];
      return replace({ value: bytes([...place, record.offset ?? '-', record.timestamp].join(' ')) });
    }
    case 'log': write(words[0], words.slice(1).join(' ')); return keep;
    case 'print': console.log(rest); return keep;
    case 'count': add(words[0], BigInt(words[1])); return keep;
    case 'fail': throw rest;
    case 'trap': return trap(rest);
    case 'loop': return spin();
    case 'grow': return grow();
    default: throw `unheard of: ${verb}`;
  }
}
