/** Bytes to values and back: headers of datagrams and frames, and the control message that hosts exchange most. */

import { type ControlMessage, decodeControl, encodeControl } from "../../src/wire/control.ts";
import { parseDatagram, parseInner, putInner, putOuter } from "../../src/wire/datagram.ts";
import { parseFrame } from "../../src/wire/ethernet.ts";
import type { SessionIndex, Vni } from "../../src/wire/ids.ts";
import { KIND } from "../../src/wire/protocol.ts";
import type { Operations } from "./operations.ts";
import { tcpFrame } from "./switch.ts";

const GROUP = "Codec";
const PING: ControlMessage = { t: "ping", seq: 7, incarnation: 3, hash: new Uint8Array(16).fill(5), psk: 1 };

export function addCodec(operations: Operations): void {
  const datagram = new Uint8Array(1_440);
  const inner = { kind: KIND.frame, vni: 7 as Vni, checksumStart: 34, checksumOffset: 16 };
  operations.add(GROUP, "headers of a sealed datagram, write", () => {
    putOuter(datagram, 1 as SessionIndex, 1, 12_345);
    putInner(datagram, 16, inner);
  });
  const opened = datagram.subarray(16);
  operations.add(GROUP, "headers of a sealed datagram, read", () => {
    if ("drop" in parseDatagram(datagram) || parseInner(opened) === undefined) throw new Error("it does not parse");
  });
  const frame = tcpFrame();
  operations.add(GROUP, "Ethernet header, read", () => void parseFrame(frame));
  const body = encodeControl(PING);
  operations.add(GROUP, "ping, write", () => void encodeControl(PING));
  operations.add(GROUP, "ping, read and check", () => {
    if (decodeControl(body) === undefined) throw new Error("it does not decode");
  });
}
