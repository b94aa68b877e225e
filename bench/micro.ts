/**
 * What one 1,400-byte frame costs: its AEAD by each implementation, and the whole way through the switch.
 *   node bench/micro.ts
 */

import { gcm } from "@noble/ciphers/aes.js";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import benchmark from "benchmark";
import { CIPHERS, type Cipher, type Crypto } from "../src/crypto/crypto.ts";
import { loadEvp } from "../src/crypto/evp.ts";
import { inPlace } from "../src/crypto/inplace.ts";
import { nodeCrypto } from "../src/crypto/node.ts";
import type { EngineCommand } from "../src/engine/engine.ts";
import { KeyRegistry } from "../src/engine/portable/keys.ts";
import { NativeOut } from "../src/engine/portable/nativeOut.ts";
import { SwitchOut } from "../src/engine/portable/out.ts";
import { Switch } from "../src/engine/portable/switch.ts";
import { allocate } from "../src/sys/memory.ts";
import type { Endpoint, Mac, PeerId, SessionIndex, Vni } from "../src/wire/ids.ts";

const FRAME_BYTES = 1_400;
const DATAGRAM_BYTES = 16 + 8 + FRAME_BYTES + 16;
const VNI = 7 as Vni;
const filled = (value: number, length = 32) => new Uint8Array(length).fill(value);
const nonce = filled(3, 12);
const key = filled(7);
const memory = allocate(8_192);
const datagram = memory.bytes.subarray(0, DATAGRAM_BYTES);
const opened = memory.bytes.subarray(4_096, 4_096 + DATAGRAM_BYTES - 32);
const evp = loadEvp(nodeCrypto);

const suite = new benchmark.Suite();
for (const cipher of Object.keys(CIPHERS) as Cipher[]) {
  addNoble(cipher);
  addAead("node:crypto", nodeCrypto, cipher);
  addAead("EVP", evp, cipher);
  addSwitch(cipher);
}
suite
  .on("cycle", ({ target }) => {
    if (target.error !== undefined) throw target.error;
    console.log(
      `${target.name.padEnd(44)} ${(1e6 / target.hz).toFixed(2).padStart(8)} us ±${target.stats.rme.toFixed(1)} %`,
    );
  })
  .run();

function addNoble(cipher: Cipher): void {
  const make = cipher === "aes-256-gcm" ? gcm : chacha20poly1305;
  const aad = datagram.slice(0, 16);
  const plaintext = datagram.slice(16, DATAGRAM_BYTES - 16);
  const sealed = make(key, nonce, aad).encrypt(plaintext);
  suite.add(`${cipher} @noble/ciphers seal`, () => void make(key, nonce, aad).encrypt(plaintext));
  suite.add(`${cipher} @noble/ciphers open`, () => void make(key, nonce, aad).decrypt(sealed));
}

function addAead(name: string, crypto: Crypto, cipher: Cipher): void {
  const aead = inPlace(crypto.aead(cipher, key));
  suite.add(`${cipher} ${name} seal`, () => aead.sealInPlace(nonce, datagram, 16));
  const sealed = datagram.slice();
  aead.sealInPlace(nonce, sealed, 16);
  const native = allocate(DATAGRAM_BYTES).bytes.subarray(0, DATAGRAM_BYTES);
  native.set(sealed);
  suite.add(`${cipher} ${name} open`, () => {
    if (!aead.openInto(nonce, native, 16, opened)) throw new Error("it does not open");
  });
}

/** Sealing alone can be repeated; opening needs fresh counters, so both are measured together and sealing is taken off by the reader. */
function addSwitch(cipher: Cipher): void {
  const [a, b] = [makeSwitch(cipher, 1), makeSwitch(cipher, 2)];
  const out = new NativeOut();
  const delivered = new NativeOut();
  const frame = { bytes: memory.bytes.slice(0, FRAME_BYTES), checksum: "complete" as const };
  frame.bytes.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45]);
  frame.bytes[23] = 6;
  suite.add(`${cipher} switch, inside`, () => {
    a.inside(VNI, frame, 1, out);
    out.clear();
  });
  suite.add(`${cipher} switch, inside and outside`, () => {
    a.inside(VNI, frame, 1, out);
    b.outside("10.9.0.1:4794" as Endpoint, out.datagrams[0]!.bytes, 1, delivered);
    if (delivered.frames.length !== 1) throw new Error("it is not delivered");
    out.clear();
    delivered.clear();
  });
}

function makeSwitch(cipher: Cipher, self: 1 | 2): Switch {
  const other = self === 1 ? 2 : 1;
  const id = (host: number) => `${host}`.repeat(32) as PeerId;
  const mac = (host: number) => `02:00:00:00:00:0${host}` as Mac;
  const made = new Switch({
    crypto: evp,
    rng: length => filled(1, length),
    keys: new KeyRegistry(),
    keyLimits: { rekeyPackets: 2 ** 40, rejectPackets: 2 ** 41 },
  });
  const commands: readonly EngineCommand[] = [
    {
      do: "segment.open",
      vni: VNI,
      tap: "t",
      tapMac: mac(9),
      tapMtu: 1_390,
      mtu: 1_390,
      pinnedOnly: false,
      loopProbe: false,
    },
    { do: "flood.set", vni: VNI, peers: [id(other)] },
    { do: "mac.pin", vni: VNI, mac: mac(self), at: "local", kind: "seen" },
    { do: "mac.pin", vni: VNI, mac: mac(other), at: id(other), kind: "seen" },
    {
      do: "session.install",
      peer: id(other),
      keyId: "bench",
      local: self as number as SessionIndex,
      remote: other as number as SessionIndex,
      cipher,
      sealKey: filled(self),
      sealIv: filled(self, 12),
      openKey: filled(other),
      openIv: filled(other, 12),
      confirmed: true,
      peerQueues: 1,
      partialChecksum: false,
      endpoint: `10.9.0.${other}:4794` as Endpoint,
    },
  ];
  const out = new SwitchOut();
  for (const command of commands) made.apply(command, 0, out);
  return made;
}
