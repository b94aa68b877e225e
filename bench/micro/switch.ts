/**
 * One frame through the portable switch, with OpenSSL called directly. Sealing alone can be repeated; opening needs fresh counters,
 * so both are measured together and sealing is taken off by the reader.
 */

import { CIPHERS, type Cipher } from "../../src/crypto/crypto.ts";
import { loadEvp } from "../../src/crypto/evp.ts";
import { nodeCrypto } from "../../src/crypto/node.ts";
import type { EngineCommand } from "../../src/engine/engine.ts";
import { KeyRegistry } from "../../src/engine/portable/keys.ts";
import { NativeOut } from "../../src/engine/portable/nativeOut.ts";
import { SwitchOut } from "../../src/engine/portable/out.ts";
import { Switch } from "../../src/engine/portable/switch.ts";
import { allocate } from "../../src/sys/memory.ts";
import type { Endpoint, Mac, PeerId, SessionIndex, Vni } from "../../src/wire/ids.ts";
import { FRAME_BYTES } from "./aead.ts";
import type { Operations } from "./operations.ts";

const VNI = 7 as Vni;
const GROUP = "Portable switch, 1,400-byte frame";
const filled = (value: number, length = 32) => new Uint8Array(length).fill(value);

export function addSwitch(operations: Operations): void {
  for (const cipher of Object.keys(CIPHERS) as Cipher[]) {
    const [a, b] = [makeSwitch(cipher, 1), makeSwitch(cipher, 2)];
    const [out, delivered] = [new NativeOut(), new NativeOut()];
    const frame = { bytes: tcpFrame(), checksum: "complete" as const };
    operations.add(GROUP, `switch, ${cipher}, inside`, () => {
      a.inside(VNI, frame, 1, out);
      out.clear();
    });
    operations.add(GROUP, `switch, ${cipher}, inside and outside`, () => {
      a.inside(VNI, frame, 1, out);
      b.outside("10.9.0.1:4794" as Endpoint, out.datagrams[0]!.bytes, 1, delivered);
      if (delivered.frames.length !== 1) throw new Error("it is not delivered");
      out.clear();
      delivered.clear();
    });
  }
}

/** As far as a switch looks: addresses, IPv4, TCP. */
export function tcpFrame(): Uint8Array {
  const bytes = allocate(FRAME_BYTES).bytes.subarray(0, FRAME_BYTES);
  bytes.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45]);
  bytes[23] = 6;
  return bytes;
}

function makeSwitch(cipher: Cipher, self: 1 | 2): Switch {
  const made = new Switch({
    crypto: loadEvp(nodeCrypto),
    rng: length => filled(1, length),
    keys: new KeyRegistry(),
    keyLimits: { rekeyPackets: 2 ** 40, rejectPackets: 2 ** 41 },
  });
  const out = new SwitchOut();
  for (const command of commands(cipher, self)) made.apply(command, 0, out);
  return made;
}

/** One network, one peer, one MAC on each side. */
function commands(cipher: Cipher, self: 1 | 2): readonly EngineCommand[] {
  const other = self === 1 ? 2 : 1;
  const id = (host: number) => `${host}`.repeat(32) as PeerId;
  const mac = (host: number) => `02:00:00:00:00:0${host}` as Mac;
  const taps = { tap: "t", tapMac: mac(9), tapMtu: 1_390, mtu: 1_390, pinnedOnly: false, loopProbe: false };
  return [
    { do: "segment.open", vni: VNI, ...taps },
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
}
