/*
 * The probe: what a plain C program reaches with overlayd's wire format on this machine. Not a product: a fixed key, one peer, no handshake,
 * no learning, no table, IPv4 super-frames only.
 *
 *   TAP (vnet header, TSO) -> split into complete frames -> AES-256-GCM each -> one sendmsg with UDP_SEGMENT
 *   recvmsg with UDP_GRO -> open, replay window -> frames of one flow joined -> one write to the TAP
 *
 * One thread each way, read/recvmsg, OpenSSL. Layouts: docs/PROTOCOL.md "Sealed datagrams" and "Splitting".
 * usage: probe TAP LOCAL-IP PEER-IP [null]     null: no cipher, to see what the cipher costs
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <netinet/udp.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif

enum {
  PORT = 4790,
  OUTER = 16, /* type, flags, reserved | receiver | queue, counter */
  INNER = 8,  /* kind, vni | csum_start, csum_offset */
  TAG = 16,
  ETH = 14,
  IP4 = 20,
  WINDOW = 8192,
  WORDS = WINDOW / 64 + 1,
  BUFFER = 70000,
  BATCH_BYTES = 65000, /* a UDP datagram before the kernel cuts it */
  BATCH_SEGMENTS = 64,
  VNI = 7,
};
enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_ACK = 0x10, TCP_CWR = 0x80 };

static int tap, udp;
static const EVP_CIPHER *cipher;
static const uint8_t key[32] = "probe key, fixed and not secret";
static const uint8_t iv[12] = "probe iv";

static uint16_t get16(const uint8_t *p) { return p[0] << 8 | p[1]; }
static uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }
static void put16(uint8_t *p, uint16_t v) { p[0] = v >> 8, p[1] = v; }
static void put32(uint8_t *p, uint32_t v) { put16(p, v >> 16), put16(p + 2, v); }
static uint64_t get64(const uint8_t *p) { return (uint64_t)get32(p) << 32 | get32(p + 4); }
static void put64(uint8_t *p, uint64_t v) { put32(p, v >> 32), put32(p + 4, v); }

static uint32_t sum16(const uint8_t *p, int bytes) {
  uint32_t sum = 0;
  for (int i = 0; i < bytes; i += 2) sum += get16(p + i);
  return sum;
}
static uint16_t fold(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/* Total length, header checksum, and in a partial transport checksum the sum of the pseudo-header. */
static void set_lengths(uint8_t *frame, int bytes, int l4, int csum_offset) {
  uint8_t *ip = frame + ETH;
  put16(ip + 2, bytes - ETH);
  put16(ip + 10, 0);
  put16(ip + 10, ~fold(sum16(ip, l4 - ETH)));
  put16(frame + l4 + csum_offset, fold(sum16(ip + 12, 8) + ip[9] + bytes - l4));
}

static void nonce_of(uint8_t *nonce, const uint8_t *outer) {
  memcpy(nonce, iv, 12);
  for (int i = 0; i < 8; i++) nonce[4 + i] ^= outer[8 + i];
}

/* In place: the header at `d` is associated data, `bytes` behind it are sealed, and the tag follows. */
static int seal(EVP_CIPHER_CTX *c, uint8_t *d, int bytes) {
  if (!cipher) return OUTER + bytes + TAG;
  uint8_t nonce[12];
  int n;
  nonce_of(nonce, d);
  EVP_EncryptInit_ex(c, 0, 0, 0, nonce);
  EVP_EncryptUpdate(c, 0, &n, d, OUTER);
  EVP_EncryptUpdate(c, d + OUTER, &n, d + OUTER, bytes);
  EVP_EncryptFinal_ex(c, d + OUTER + n, &n);
  EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, d + OUTER + bytes);
  return OUTER + bytes + TAG;
}
static bool open_sealed(EVP_CIPHER_CTX *c, uint8_t *d, int bytes) {
  if (!cipher) return true;
  uint8_t nonce[12];
  int n, sealed = bytes - OUTER - TAG;
  nonce_of(nonce, d);
  EVP_DecryptInit_ex(c, 0, 0, 0, nonce);
  EVP_DecryptUpdate(c, 0, &n, d, OUTER);
  EVP_DecryptUpdate(c, d + OUTER, &n, d + OUTER, sealed);
  EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, d + OUTER + sealed);
  return EVP_DecryptFinal_ex(c, d + OUTER + n, &n) > 0;
}

struct window {
  uint64_t newest, words[WORDS];
};
static bool accept_counter(struct window *w, uint64_t counter) {
  if (counter > w->newest) {
    uint64_t from = w->newest / 64, to = counter / 64, fresh = to - from < WORDS ? to - from : WORDS;
    for (uint64_t i = 0; i < fresh; i++) w->words[(to - i) % WORDS] = 0;
    w->newest = counter;
  } else if (w->newest - counter >= WINDOW) return false;
  uint64_t *word = &w->words[counter / 64 % WORDS], bit = 1ull << counter % 64;
  if (*word & bit) return false;
  *word |= bit;
  return true;
}

/* ---- inside: TAP to UDP ---- */

struct sender {
  EVP_CIPHER_CTX *c;
  uint64_t counter;
  uint8_t out[140000];
  int bytes, segment, count;
};

static void send_batch(struct sender *s) {
  if (!s->count) return;
  struct iovec iov = {s->out, s->bytes};
  char control[CMSG_SPACE(2)] = {0};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
  if (s->count > 1) {
    m.msg_control = control, m.msg_controllen = sizeof control;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_UDP, c->cmsg_type = UDP_SEGMENT, c->cmsg_len = CMSG_LEN(2);
    uint16_t size = s->segment;
    memcpy(CMSG_DATA(c), &size, 2);
  }
  while (sendmsg(udp, &m, 0) < 0 && (errno == EINTR || errno == ENOBUFS)) {}
  s->bytes = s->count = 0;
}

/* Where the next frame is to be written: behind both headers. */
static uint8_t *next_frame(struct sender *s) { return s->out + s->bytes + OUTER + INNER; }

static void seal_frame(struct sender *s, int frame_bytes, const struct virtio_net_hdr *v) {
  uint8_t *d = s->out + s->bytes;
  bool partial = v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
  put32(d, 4u << 24);
  put32(d + 4, 1);
  put64(d + 8, 1ull << 56 | s->counter++);
  put32(d + OUTER, 1u << 24 | VNI);
  put16(d + OUTER + 4, partial ? v->csum_start : 0);
  put16(d + OUTER + 6, partial ? v->csum_offset : 0);
  int bytes = seal(s->c, d, INNER + frame_bytes);
  if (!s->count) s->segment = bytes;
  s->bytes += bytes;
  s->count++;
}

static void split(struct sender *s, const uint8_t *frame, int bytes, const struct virtio_net_hdr *v) {
  int l4 = v->csum_start, header = l4 + (frame[l4 + 12] >> 4) * 4, size = v->gso_size;
  uint16_t id = get16(frame + ETH + 4);
  uint32_t sequence = get32(frame + l4 + 4);
  uint8_t flags = frame[l4 + 13];
  for (int at = header, i = 0; at < bytes; at += size, i++) {
    int payload = bytes - at < size ? bytes - at : size;
    uint8_t *f = next_frame(s), mine = flags;
    memcpy(f, frame, header);
    memcpy(f + header, frame + at, payload);
    put16(f + ETH + 4, id + i);
    put32(f + l4 + 4, sequence + i * size);
    if (at + payload < bytes) mine &= ~(TCP_FIN | TCP_PSH);
    if (i) mine &= ~TCP_CWR;
    f[l4 + 13] = mine;
    set_lengths(f, header + payload, l4, v->csum_offset);
    seal_frame(s, header + payload, v);
    if (s->count == BATCH_SEGMENTS || s->bytes + s->segment > BATCH_BYTES) send_batch(s);
  }
  send_batch(s);
}

static void *inside(void *unused) {
  (void)unused;
  static uint8_t in[BUFFER];
  static struct sender s;
  s.c = EVP_CIPHER_CTX_new();
  if (cipher) EVP_EncryptInit_ex(s.c, cipher, 0, key, 0);
  for (;;) {
    int n = read(tap, in, sizeof in);
    struct virtio_net_hdr v;
    if (n < (int)sizeof v + ETH) {
      if (n < 0 && errno != EINTR && errno != EIO) perror("tap"), exit(1); /* EIO: the device is down */
      continue;
    }
    memcpy(&v, in, sizeof v);
    uint8_t *frame = in + sizeof v;
    n -= sizeof v;
    if (v.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
      split(&s, frame, n, &v);
    } else {
      memcpy(next_frame(&s), frame, n);
      seal_frame(&s, n, &v);
      send_batch(&s);
    }
  }
}

/* ---- outside: UDP to TAP ---- */

/* Frames of one flow, joined as they come; count 0: none. */
struct run {
  uint8_t buffer[sizeof(struct virtio_net_hdr) + BUFFER], *frame;
  int bytes, count, l4, header, size;
  bool closed;
};

static void write_frame(uint8_t *frame, int bytes, struct virtio_net_hdr v) {
  uint8_t *at = frame - sizeof v; /* there is always a header's room in front of a frame */
  memcpy(at, &v, sizeof v);
  if (write(tap, at, bytes + sizeof v) < 0) return; /* the device is down or full */
}

static void flush(struct run *r) {
  if (!r->count) return;
  struct virtio_net_hdr v = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = r->l4, .csum_offset = 16};
  if (r->count > 1) {
    v.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, v.gso_size = r->size, v.hdr_len = r->header;
    set_lengths(r->frame, r->bytes, r->l4, 16);
  }
  write_frame(r->frame, r->bytes, v);
  r->count = 0;
}

/* TCP over IPv4 without options or fragments, with payload and no flag but ACK, PSH, FIN. */
static bool joinable(const uint8_t *f, int bytes, int l4, int csum_offset) {
  if (l4 != ETH + IP4 || csum_offset != 16 || bytes < l4 + 20 || get16(f + 12) != 0x0800 || f[ETH] != 0x45 || f[ETH + 9] != 6) return false;
  int header = l4 + (f[l4 + 12] >> 4) * 4;
  return header >= l4 + 20 && header < bytes && get16(f + ETH + 2) == bytes - ETH && !(get16(f + ETH + 6) & 0x3fff) &&
         (f[l4 + 13] & ~(TCP_PSH | TCP_FIN)) == TCP_ACK;
}

static bool follows(const struct run *r, const uint8_t *f, int bytes) {
  const uint8_t *a = r->frame;
  int l4 = r->l4, header = r->header, payload = bytes - header;
  return r->count && !r->closed && payload <= r->size && r->bytes + payload - ETH <= 65535 && l4 + (f[l4 + 12] >> 4) * 4 == header &&
         get16(f + ETH + 4) == (uint16_t)(get16(a + ETH + 4) + r->count) && get32(f + l4 + 4) == get32(a + l4 + 4) + r->count * (uint32_t)r->size &&
         !memcmp(a, f, ETH + 2) && !memcmp(a + ETH + 6, f + ETH + 6, 4) && !memcmp(a + ETH + 12, f + ETH + 12, 12) && !memcmp(a + l4 + 8, f + l4 + 8, 5) &&
         !memcmp(a + l4 + 14, f + l4 + 14, 2) && !memcmp(a + l4 + 18, f + l4 + 18, header - l4 - 18);
}

static void deliver(struct run *r, uint8_t *f, int bytes, int l4, int csum_offset) {
  if (!joinable(f, bytes, l4, csum_offset)) {
    struct virtio_net_hdr v = {.flags = l4 ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0, .csum_start = l4, .csum_offset = csum_offset};
    flush(r);
    write_frame(f, bytes, v);
    return;
  }
  int header = l4 + (f[l4 + 12] >> 4) * 4, payload = bytes - header;
  if (follows(r, f, bytes)) {
    memcpy(r->frame + r->bytes, f + header, payload);
    r->bytes += payload;
    r->count++;
    r->frame[l4 + 13] = f[l4 + 13];
  } else {
    flush(r);
    memcpy(r->frame, f, bytes);
    r->bytes = bytes, r->count = 1, r->l4 = l4, r->header = header, r->size = payload;
  }
  r->closed = payload < r->size || f[l4 + 13] & (TCP_PSH | TCP_FIN);
}

static void receive(EVP_CIPHER_CTX *c, struct window *w, struct run *r, uint8_t *d, int bytes) {
  if (bytes < OUTER + INNER + ETH + TAG || get32(d) != 4u << 24 || get32(d + 4) != 1 || d[8] != 1) return;
  if (!open_sealed(c, d, bytes) || !accept_counter(w, get64(d + 8) & 0xffffffffffffffull)) return;
  uint8_t *inner = d + OUTER;
  int frame_bytes = bytes - OUTER - INNER - TAG, l4 = get16(inner + 4), csum_offset = get16(inner + 6);
  if (get32(inner) != (1u << 24 | VNI) || (l4 && (l4 < ETH || l4 + csum_offset + 2 > frame_bytes))) return;
  deliver(r, inner + INNER, frame_bytes, l4, csum_offset);
}

static void *outside(void *unused) {
  (void)unused;
  static uint8_t in[BUFFER];
  static struct run r;
  static struct window w;
  r.frame = r.buffer + sizeof(struct virtio_net_hdr);
  EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
  if (cipher) EVP_DecryptInit_ex(c, cipher, 0, key, 0);
  for (;;) {
    struct iovec iov = {in, sizeof in};
    char control[CMSG_SPACE(sizeof(int))];
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int n = recvmsg(udp, &m, 0), segment = n;
    if (n <= 0) continue; /* a refused datagram is reported here; the peer is not up yet */
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
      if (h->cmsg_level == SOL_UDP && h->cmsg_type == UDP_GRO) memcpy(&segment, CMSG_DATA(h), sizeof segment);
    for (int at = 0; at < n; at += segment) receive(c, &w, &r, in + at, n - at < segment ? n - at : segment);
    flush(&r);
  }
  return 0;
}

static void fail(const char *what) { perror(what), exit(1); }

static void open_tap(const char *name) {
  struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  strncpy(r.ifr_name, name, IFNAMSIZ - 1);
  tap = open("/dev/net/tun", O_RDWR);
  if (tap < 0 || ioctl(tap, TUNSETIFF, &r) < 0) fail("TUNSETIFF");
  if (ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0) fail("TUNSETOFFLOAD");
}

static void open_udp(const char *local, const char *peer) {
  int one = 1, buffer = 8 << 20;
  struct sockaddr_in l = {.sin_family = AF_INET, .sin_port = htons(PORT)}, p = l;
  if (inet_pton(AF_INET, local, &l.sin_addr) != 1 || inet_pton(AF_INET, peer, &p.sin_addr) != 1) fail("address");
  udp = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(udp, SOL_UDP, UDP_GRO, &one, sizeof one);
  setsockopt(udp, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
  setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  if (bind(udp, (void *)&l, sizeof l) || connect(udp, (void *)&p, sizeof p)) fail("udp");
}

int main(int count, char **words) {
  if (count < 4) return fprintf(stderr, "usage: probe TAP LOCAL-IP PEER-IP [null]\n"), 2;
  cipher = count > 4 && !strcmp(words[4], "null") ? 0 : EVP_aes_256_gcm();
  open_tap(words[1]);
  open_udp(words[2], words[3]);
  pthread_t threads[2];
  pthread_create(&threads[0], 0, inside, 0);
  pthread_create(&threads[1], 0, outside, 0);
  pthread_join(threads[0], 0);
}
