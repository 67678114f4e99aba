// A person on Nostr, by another implementation (nostr-tools): node person.mjs FOLDER RELAY ARCHON SECRET COUNT [TEXT..]
// FOLDER has the modules, ARCHON and SECRET are keys in hexadecimal digits. Names RELAY as the own inbox, sends each TEXT, and then each line
// of its standard input, waits for COUNT answers (for each PATIENCE_S seconds at most), and prints a line of JSON for each message that was sent and each answer that came.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [folder, url, archon, secret, count, ...texts] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { finalizeEvent, getPublicKey, verifyEvent } = require('nostr-tools/pure');
const nip17 = require('nostr-tools/nip17');
const { Relay, useWebSocketImplementation } = require('nostr-tools/relay');
useWebSocketImplementation(require('ws'));

const key = Uint8Array.from(Buffer.from(secret, 'hex'));
const me = getPublicKey(key);
const now = () => Math.floor(Date.now() / 1000);
const say = (line) => console.log(JSON.stringify(line));
const relay = await Relay.connect(url);
try {
  await relay.publish(finalizeEvent({ kind: 10050, created_at: now(), tags: [['relay', url]], content: '' }, key));
} catch (error) {
  // Somebody who writes again within the second has said so already.
  if (!error.message.startsWith('duplicate:')) throw error;
}

let inbox = null;
await new Promise((done) => {
  const subscription = relay.subscribe([{ kinds: [10050], authors: [archon] }], {
    onevent: (event) => { inbox = event.tags.filter((tag) => tag[0] === 'relay').map((tag) => tag[1]); },
    oneose: () => { subscription.close(); done(); },
  });
});
say({ inbox });

const known = new Set();
const answered = new Promise((done, failed) => {
  let patience;
  const wait = () => {
    clearTimeout(patience);
    patience = setTimeout(() => failed(new Error('no answer in time')), 1000 * Number(process.env.PATIENCE_S ?? 120));
  };
  wait();
  relay.subscribe([{ kinds: [1059], '#p': [me] }], {
    onevent: (wrap) => {
      const rumor = nip17.unwrapEvent(wrap, key);
      if (rumor.pubkey !== archon || known.has(rumor.id)) return;
      known.add(rumor.id);
      wait();
      say({
        answer: rumor.content, kind: rumor.kind, id: rumor.id, replies: rumor.tags.filter((tag) => tag[0] === 'e').map((tag) => tag[1]),
        signed: 'sig' in rumor, genuine: verifyEvent(wrap), hidden: wrap.pubkey !== archon, early: now() - wrap.created_at,
      });
      if (known.size >= Number(count)) done();
    },
  });
});
const send = async (text) => {
  const wrap = nip17.wrapEvent(key, { publicKey: archon, relayUrl: url }, text);
  await relay.publish(wrap);
  say({ sent: text });
};
for (const text of texts) await send(text);
(async () => {
  for await (const text of createInterface({ input: process.stdin })) await send(text);
})();
if (Number(count) > 0) await answered;
process.exit(0);
