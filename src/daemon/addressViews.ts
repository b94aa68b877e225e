/** What the API answers about addresses, names and Docker networks (docs/API.md); the Docker integration and the command line read these. */

/** `GET /v1/addresses`. */
export interface AddressesView {
  readonly network: string;
  readonly subnet: string | null;
  readonly subnet6: string | null;
  readonly gateway: string | null;
  readonly gateway6: string | null;
  readonly blocks: readonly BlockView[];
  readonly leases: readonly LeaseView[];
  readonly doubled: readonly string[];
}

export interface BlockView {
  /** First and last address: `10.77.0.0-10.77.3.255`. */
  readonly range: string;
  readonly count: number;
  readonly host: string;
  readonly hostId: string;
  readonly state: "ok" | "moving" | "dead";
}

export interface LeaseView {
  readonly ip: string;
  readonly for: string | null;
  readonly host: string;
  readonly hostId: string;
  readonly state: "ok" | "lost";
}

/** `POST /v1/addresses`. */
export interface AddressRequest {
  readonly network: string;
  readonly ip?: string;
  readonly family?: 4 | 6;
  readonly for: string;
}

export interface AddressAnswer {
  readonly ip: string;
  readonly prefix: number;
}

/** `GET /v1/names`, and the items of `GET /v1/names/stream` hold lists of them. */
export interface NameView {
  readonly network: string;
  readonly name: string;
  readonly ips: readonly string[];
  readonly host: string;
  readonly hostId: string;
  readonly kind: "docker" | "static";
}

export interface NamesEvent {
  readonly network: string;
  readonly names: readonly NameView[];
}

/** `GET /v1/docker`. */
export interface DockerView {
  readonly networks: readonly DockerNetworkView[];
}

export interface DockerNetworkView extends DockerNetworkReport {
  readonly host: string;
  readonly hostId: string;
  readonly here: boolean;
}

/** An item of `POST /v1/docker`. `id` is Docker's, of which others are told the first 12 digits. */
export interface DockerNetworkReport {
  readonly network: string;
  readonly name: string;
  readonly id: string;
  readonly endpoints: readonly DockerEndpoint[];
}

export interface DockerEndpoint {
  readonly id: string;
  readonly container: string;
  readonly ip: string;
  readonly mac: string;
}

/** `GET /v1/pools`. */
export interface PoolView {
  readonly network: string;
  readonly vni: number;
  readonly subnet: string | null;
  readonly subnet6: string | null;
  readonly gateway: string | null;
  readonly gateway6: string | null;
  readonly mtu: number;
  /** Unix seconds by the founder's clock. */
  readonly created: number | null;
  readonly attached: boolean;
  readonly here: boolean;
  readonly hosts: readonly string[];
}
