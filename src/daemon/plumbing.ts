/** Attachments on this host: a bridge, a TAP that the engine owns, and the order in which they come and go. */

import type { LocalAttachment } from "../core/overlay/local.ts";
import type { Crypto } from "../crypto/crypto.ts";
import { utf8 } from "../wire/bytes.ts";
import { type Mac, macFromBytes, type PeerId, type Vni } from "../wire/ids.ts";
import type { Daemon } from "./daemon.ts";
import { operatorError } from "./errors.ts";
import type { Host, Removal } from "./host.ts";
import { bridgeName, tapName } from "./linkNames.ts";
import type { Log } from "./log.ts";

export interface PlumbingParts {
  readonly daemon: Daemon;
  readonly host: Host;
  readonly crypto: Crypto;
  readonly log: Log;
}

export class Plumbing {
  readonly #parts: PlumbingParts;
  /** One change at a time: two attachments of one network must not both find it free. */
  #last: Promise<unknown> = Promise.resolve();
  /** Networks whose bridge could not be set up at the start, and why. */
  readonly failed = new Map<string, string>();

  constructor(parts: PlumbingParts) {
    this.#parts = parts;
  }

  /** Throws OperatorError; what had been made is then undone. */
  attach(network: string, bridge: string | undefined, pinnedOnly = false): Promise<LocalAttachment> {
    return this.#inTurn(async () => {
      const { daemon, host } = this.#parts;
      const { definition, self } = daemon.read(node => node.prepareAttach(network));
      const { vni, mtu } = definition;
      const name = bridge ?? bridgeName(network);
      const mac = (what: string) => linkMac(this.#parts.crypto, self, vni, what);
      const made = await host.ensureBridge({ name, vni, mtu, mac: mac("bridge") });
      const link = { network, vni, bridge: name, tap: tapName(vni), tapMac: mac("tap"), tapMtu: made.mtu };
      const attachment = { ...link, ...(pinnedOnly && { pinnedOnly }) };
      try {
        daemon.command((node, now, out) => node.attach(attachment, now, out));
        await host.plugTap(attachment.tap, name, attachment.tapMtu, vni);
      } catch (error) {
        await this.#takeBack(attachment, made.created);
        throw error;
      }
      this.failed.delete(network);
      return attachment;
    });
  }

  /** The bridge goes too when overlayd made it. */
  detach(network: string): Promise<Removal> {
    return this.#inTurn(() => this.#detach(network));
  }

  /** Before a leave. An evicted host detaches nothing, since nobody listens, but leaves no bridge behind either. */
  detachAll(): Promise<void> {
    return this.#inTurn(async () => {
      const isMember = this.#parts.daemon.read(node => node.standing === "member");
      for (const { network, bridge, vni } of this.#attachments()) {
        if (isMember) await this.#detach(network);
        else await this.#parts.host.removeBridgeIfOurs(bridge, vni, { keepForeignPorts: false });
      }
    });
  }

  /**
   * The engine opened these segments: at the start, on attach, and when a conflict ends. Bridge and TAP are brought together; what fails
   * is reported and left for the operator, the others go on.
   */
  opened(vnis: readonly Vni[]): void {
    void this.#inTurn(async () => {
      for (const attachment of this.#attachments()) {
        if (vnis.includes(attachment.vni)) await this.#plug(attachment);
      }
    });
  }

  /** When everything asked for so far is done. */
  settled(): Promise<void> {
    return this.#inTurn(async () => undefined);
  }

  /** At a stop, after the engine took its TAPs away: bridges of ours go unless somebody else is plugged in. */
  release(attachments: readonly LocalAttachment[]): Promise<void> {
    return this.#inTurn(async () => {
      for (const { bridge, vni } of attachments) {
        const removal = await this.#parts.host.removeBridgeIfOurs(bridge, vni, { keepForeignPorts: true });
        if (removal === "foreign-ports")
          this.#parts.log.info("bridge.kept", "bridge stays: others are plugged in", { bridge });
      }
    });
  }

  #attachments(): readonly LocalAttachment[] {
    return this.#parts.daemon.read(node => node.wishes.attachments);
  }

  async #plug({ network, vni, bridge, tap, tapMtu }: LocalAttachment): Promise<void> {
    const { host, log, crypto, daemon } = this.#parts;
    try {
      const self = daemon.read(node => node.self);
      if (self === undefined) throw operatorError("not-member");
      await host.ensureBridge({ name: bridge, vni, mtu: tapMtu, mac: linkMac(crypto, self, vni, "bridge") });
      await host.plugTap(tap, bridge, tapMtu, vni);
      this.failed.delete(network);
    } catch (error) {
      const why = (error as Error).message;
      this.failed.set(network, why);
      log.error("attachment.failed", `network ${network} is not attached: ${why}`, { network, bridge }, network);
    }
  }

  async #detach(network: string): Promise<Removal> {
    const { bridge, vni } = this.#parts.daemon.command((node, now, out) => node.detach(network, now, out));
    this.failed.delete(network);
    return this.#parts.host.removeBridgeIfOurs(bridge, vni, { keepForeignPorts: false });
  }

  /** Takes back an attachment that could not be finished. It may not have come into being at all. Never throws: the first error is the one to tell. */
  async #takeBack({ network, bridge, vni }: LocalAttachment, isBridgeNew: boolean): Promise<void> {
    const { daemon, host, log } = this.#parts;
    try {
      const exists = this.#attachments().some(attachment => attachment.network === network);
      if (exists) daemon.undo((node, now, out) => node.detach(network, now, out));
      if (isBridgeNew) await host.removeBridgeIfOurs(bridge, vni, { keepForeignPorts: true });
    } catch (error) {
      log.error("attachment.stuck", `attaching ${network} failed and could not be undone: ${(error as Error).message}`);
    }
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#last.then(action);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** A link's address from host, network and purpose: locally administered, unicast, the same at every start. */
function linkMac(crypto: Crypto, self: PeerId, vni: Vni, what: string): Mac {
  const bytes = crypto.hash(utf8(`overlayd link ${what} ${self} ${vni}`)).slice(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return macFromBytes(bytes)!;
}
