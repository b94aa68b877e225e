/** Bounds and times of the identity machines, each with its reason. Seconds are wall time (certificates, tokens), milliseconds monotonic. */

/** What a DNS label may hold (RFC 1035 2.3.4), so that a host's name can be one. */
export const NAME_BYTES_MAX = 63;

/** 90 days: long enough for a host that is off for a month, short enough that a forgotten one falls out within a season. */
export const CERTIFICATE_LIFE_S = 90 * 86_400;
/** A host asks for a new certificate from half of the old one's life on; by 80 % the last host of a cluster has asked. */
export const RENEW_FROM = 0.5;
export const RENEW_UNTIL = 0.8;
/** An issuer signs anew only what is past this part of its life: a member cannot keep it signing. Below RENEW_FROM, because clocks differ. */
export const RENEW_EARLIEST = 0.4;
/** A renewal that was not answered is asked of the next issuer after this long. */
export const RENEW_RETRY_MS = 600_000;
/** How often the wall clock is looked at; it may have been set. */
export const RENEW_CHECK_MS = 600_000;
/** One signature per member and this long. */
export const RENEW_ANSWER_EVERY_MS = 10_000;
/** A known member is accepted this long after its certificate ended: issuers may be away for weeks. */
export const GRACE_S = 30 * 86_400;
/** Clocks of hosts without NTP differ by a time zone at worst. */
export const CLOCK_SKEW_S = 86_400;

/** A token book is one file, rewritten at each join; a person keeps a handful. */
export const TOKENS_MAX = 1_000;
/** As many as a cluster has hosts; each use is remembered by its host's id. */
export const TOKEN_USES_MAX = 4_096;
/** A year: a token that never ends is a second CA key. */
export const TOKEN_TTL_MAX_S = 366 * 86_400;
/** An ended token is remembered for a week, so that a late joiner hears "expired", not "wrong". */
export const TOKEN_KEEP_S = 7 * 86_400;
/** A token is typed and pasted: eight addresses keep it below 300 characters for IPv4. */
export const TOKEN_ENDPOINTS_MAX = 8;
/** Eight IPv6 addresses in base64url are below 600 characters; nothing longer is looked at. */
export const TOKEN_TEXT_MAX = 1_024;

/** Sent ahead of a pre-shared key: the newest evictions are why it was made, gossip brings the others. */
export const REVOCATIONS_GIVEN = 8;
/** Only the CA adds to the set. 117 bytes each: a megabyte, more hosts than a cluster sees in its life. */
export const REVOCATIONS_MAX = 10_000;
/** The current pre-shared key, and the one before for hosts that have not heard of it yet. */
export const PSKS_KEPT = 2;

/** One question for, and one gift of, a pre-shared key per peer and second. */
export const PSK_EVERY_MS = 1_000;
/** Peers in a rate table; more than sessions exist in a full mesh. Over it the oldest goes. */
export const RATE_PEERS_MAX = 1_024;

/** The Noise message of a join: equal in all steps that ask, so that no answer is longer than its question. Fits a control with its envelope. */
export const JOIN_REQUEST_BYTES = 1_024;
/** A joiner tries this many addresses at once: those of a token and the one the operator named. */
export const JOIN_ENDPOINTS_MAX = 9;
/** Repeats of an unanswered step: after 0.5 s, then every second. */
export const JOIN_RESEND_MS = [500, 1_000] as const;
/** How long a joiner waits for each half of the exchange: longer than a relay's time for its issuer. */
export const JOIN_STEP_MS = 8_000;
/** When every address has answered that it cannot help, the joiner waits this much longer for a better answer: those refusals are not authenticated. */
export const JOIN_REFUSED_MS = 2_000;
/** An exchange whose answer got lost is begun anew this often in all, with the same keys, so that no second use of the token is counted. */
export const JOIN_ROUNDS = 2;
/** Between two resyncs of a host, and between two with the same peer; the latter doubles up to the maximum. */
export const RESYNC_EVERY_MS = 10_000;
export const RESYNC_PEER_MS = 60_000;
export const RESYNC_PEER_MS_MAX = 600_000;

/** Half-open exchanges cost two X25519 computations and about 2 KiB each. */
export const EXCHANGES_MAX = 64;
/** From one address, whatever its ports: a joiner tries all addresses of a host at once, and may share its own behind a NAT. */
export const EXCHANGES_PER_ADDRESS = 16;
/** Through one relaying member, which has limits of its own. */
export const EXCHANGES_PER_RELAY = 32;
/** An exchange is forgotten this long after it began. */
export const EXCHANGE_MS = 10_000;
/** A half-open exchange this old makes room when the table is full: a true joiner is a round trip away. */
export const EXCHANGE_STALE_MS = 2_000;
/** A joiner repeats each of two steps at most this often within an exchange's life. */
export const EXCHANGE_REQUESTS_MAX = 24;
/** A relay tells the joiner that the issuer is out of reach after this much silence. */
export const RELAY_SILENCE_MS = 3_000;

/** Names given lately whose records are not gossiped yet. */
export const NAMES_FRESH_MAX = 256;
export const NAMES_FRESH_MS = 60_000;

/** The CA key is sent this often until it is acknowledged, and given up after this long. */
export const ISSUER_KEY_RESEND_MS = 1_000;
export const ISSUER_KEY_MS = 10_000;
/** Hosts made issuers at the same time. */
export const ISSUER_KEYS_MAX = 16;
