// A remote signer of another implementation (nostr-tools): node signer.mjs FOLDER RELAY SECRET WORD [KNOWN]
// SECRET is the key that it signs with, WORD is what who connects first has to say, KNOWN whom it knows already. Prints a line of JSON with
// its address, and one for each request (https://github.com/nostr-protocol/nips/blob/master/46.md).
import { createRequire } from 'node:module';

const [folder, url, secret, word, known] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { finalizeEvent, getPublicKey } = require('nostr-tools/pure');
const nip44 = require('nostr-tools/nip44');
const { Relay, useWebSocketImplementation } = require('nostr-tools/relay');
useWebSocketImplementation(require('ws'));

const key = Uint8Array.from(Buffer.from(secret, 'hex'));
const me = getPublicKey(key);
const clients = new Set(known ? [known] : []);
const now = () => Math.floor(Date.now() / 1000);
const say = (line) => console.log(JSON.stringify(line));
const between = (other) => nip44.getConversationKey(key, other);
const relay = await Relay.connect(url);

const answers = {
  ping: () => 'pong',
  get_public_key: () => me,
  sign_event: ([event]) => JSON.stringify(finalizeEvent({ ...JSON.parse(event), pubkey: me }, key)),
  nip44_encrypt: ([to, text]) => nip44.encrypt(text, between(to)),
  nip44_decrypt: ([from, text]) => nip44.decrypt(text, between(from)),
};
const answer = (client, { method, params }) => {
  if (method === 'connect') {
    if (clients.has(client)) return 'ack';
    if (params[1] !== word) throw new Error('who are you?');
    clients.add(client);
    return word;
  }
  if (!clients.has(client)) throw new Error('not connected');
  if (!answers[method]) throw new Error(`no ${method}`);
  return answers[method](params);
};
relay.subscribe([{ kinds: [24133], '#p': [me], since: now() - 5 }], {
  onevent: async (event) => {
    const request = JSON.parse(nip44.decrypt(event.content, between(event.pubkey)));
    let response;
    try {
      response = { id: request.id, result: answer(event.pubkey, request) };
    } catch (error) {
      response = { id: request.id, result: '', error: error.message };
    }
    say({ asked: request.method, client: event.pubkey, error: response.error ?? null });
    const content = nip44.encrypt(JSON.stringify(response), between(event.pubkey));
    await relay.publish(finalizeEvent({ kind: 24133, created_at: now(), tags: [['p', event.pubkey]], content }, key));
  },
});
say({ address: `bunker://${me}?relay=${encodeURIComponent(url)}&secret=${word}` });
