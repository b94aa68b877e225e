/** The shapes the API answers with (docs/API.md); the command line and the web page render these and nothing else. */

/** What `POST /v1/networks` takes. */
export type { NetworkWish } from "../core/localNetworks.ts";

export interface StatusView {
  readonly version: string;
  readonly pid: number;
  readonly uptimeS: number;
  readonly state: "idle" | "joining" | "member" | "evicted";
  readonly host: { readonly id: string; readonly name: string } | null;
  readonly cluster: { readonly id: string; readonly name: string } | null;
  readonly issuer: boolean;
  readonly engine: { readonly kind: string; readonly why: string };
  readonly listen: readonly string[];
  readonly advertised: readonly string[];
  readonly peers: { readonly alive: number; readonly suspect: number; readonly dead: number; readonly noPath: number };
  readonly networks: number;
  readonly attachments: number;
  readonly certificate: { readonly notAfter: number } | null;
  readonly pskGeneration: number;
  readonly drops: Readonly<Record<string, number>>;
  readonly fragmented: number;
  readonly warnings: readonly { readonly code: string; readonly message: string }[];
}

export interface PeerView {
  readonly id: string;
  readonly name: string;
  readonly label: string;
  readonly state: "alive" | "suspect" | "dead" | "unknown";
  readonly path: "direct" | "trying" | "idle" | "none";
  readonly endpoint: string | null;
  readonly endpoints: readonly string[];
  readonly rttMs: number | null;
  readonly cipher: string | null;
  readonly sessionAgeMs: number | null;
  readonly silentMs: number | null;
  readonly framesIn: number;
  readonly framesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly drops: Readonly<Record<string, number>>;
  readonly issuer: boolean;
  readonly certificateNotAfter: number | null;
}

export interface MacView {
  readonly network: string;
  readonly vni: number;
  readonly mac: string;
  readonly host: string;
  readonly hostId: string;
  readonly kind: "pinned" | "seen";
  readonly seq: number;
  readonly ips: readonly string[];
  readonly name: string | null;
  readonly state: "ok" | "unreachable" | "duplicate";
}

export interface NetworkView {
  readonly name: string;
  readonly vni: number;
  readonly subnet: string | null;
  readonly subnet6: string | null;
  readonly gateway: string | null;
  readonly gateway6: string | null;
  readonly mtu: number;
  readonly state: "ok" | "CONFLICT";
  readonly why: string | null;
  readonly hosts: readonly string[];
  readonly attached: boolean;
  readonly bridge: string | null;
  readonly tap: string | null;
  readonly blocked: boolean;
  readonly addresses: { readonly held: number; readonly leased: number; readonly state: AddressState } | null;
  readonly docker: readonly { readonly host: string; readonly name: string; readonly id: string }[];
}

export type AddressState = "ok" | "waiting" | "exhausted";
