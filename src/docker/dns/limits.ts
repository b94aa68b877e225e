/** Every bound and interval of the DNS fronts, with its reason. A front is asked by a container, which may be hostile: what it costs is bounded per container. */

/** Renewal of the rules' element, which holds for five times as long: four renewals in a row may come late. */
export const RENEW_MS = 1_000;
/** How often a namespace that Docker has announced is looked for. Its container waits meanwhile, and asks its first question about 150 ms after the namespace appears. */
export const LOOK_MS = 5;
/** A namespace that has not appeared by then is looked for with each renewal only: an image on a slow disk, a hook that waits. */
export const LOOK_LONG_MS = 10_000;

/** Questions under way to Docker's resolver for one container: as many as that resolver itself takes at a time. */
export const FORWARDS_MAX = 1_024;
/** No resolver waits longer: glibc gives up after 5 s, Docker's own after 4 s for each of three servers. */
export const FORWARD_MS = 12_000;
/** Questions of one container in a second, with as many saved up; more are not answered. glibc asks 2 for each name. */
export const QUESTIONS_PER_S = 4_000;
/** TCP connections of one container: glibc opens one for an answer that was too long, and closes it. */
export const CONNECTIONS_MAX = 64;
/** RFC 7766 6.2.3 leaves it to the server. */
export const CONNECTION_IDLE_MS = 10_000;
/** What a connection may have unsent or unparsed before it is cut: two messages of the greatest length. */
export const CONNECTION_BYTES_MAX = 2 * 65_537;

/** A longer question is handed on unread: only ours are read, and they are short. */
export const QUESTION_BYTES_MAX = 4_096;
/** RFC 6891 6.2.5: the least, and what the loopback device carries in one piece either way. */
export const UDP_ANSWER_BYTES = 512;
export const UDP_ANSWER_BYTES_MAX = 4_096;
export const TCP_ANSWER_BYTES_MAX = 65_535;

/** Overlay networks whose names are kept, and names of each: what the daemon itself knows at most. */
export const NETWORKS_MAX = 4_096;
export const NAMES_MAX = 65_536;
/** Addresses of one name: replicas of a service. */
export const ADDRESSES_MAX = 1_024;
/** One network's list: all those names with an address or two. */
export const FEED_LINE_BYTES_MAX = 16 * 2 ** 20;
/** The daemon's stream sends a comment every 15 s: without a word for this long it is dead. */
export const FEED_SILENT_MS = 40_000;
/** From the first attempt to the last: the daemon is back within a third of a second after a crash. */
export const FEED_RETRY_MS = 100;
export const FEED_RETRY_MAX_MS = 2_000;
/** The daemon sends all lists at the start of a connection; networks it has not named by then have no names. */
export const FEED_FIRST_MS = 2_000;
/** What was heard from a daemon that is gone is believed for this long: a restart takes less, and TCP tries for longer. */
export const FEED_STALE_MS = 60_000;
