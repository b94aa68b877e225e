/*
 * Many TCP flows between one sender and one receiver, all connected before any of them carries anything: a full link would keep the last of a thousand
 * from connecting. The sender says "ready" on standard output when they are, and sends what it can until it is ended. Each end is one thread.
 * usage: flows server IP PORT
 *        flows client IP PORT COUNT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 128 << 10, EVENTS = 64, BACKLOG = 4096 };
static char chunk[CHUNK];
static int poller;

static void fail(const char *what) { perror(what), exit(1); }

static void watch(int s, unsigned events) {
  struct epoll_event e = {.events = events, .data.fd = s};
  fcntl(s, F_SETFL, O_NONBLOCK);
  if (epoll_ctl(poller, EPOLL_CTL_ADD, s, &e)) fail("epoll");
}

static void receive(int listener, const struct sockaddr_in *at) {
  int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (void *)at, sizeof *at) || listen(listener, BACKLOG)) fail("listen");
  watch(listener, EPOLLIN);
  for (;;) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(poller, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
      int s = events[i].data.fd;
      if (s == listener) {
        while ((s = accept(listener, 0, 0)) >= 0) watch(s, EPOLLIN);
      } else if (recv(s, chunk, CHUNK, 0) == 0) {
        close(s);
      }
    }
  }
}

static void transmit(int first, const struct sockaddr_in *at, int count) {
  for (int i = 0; i < count; i++) {
    int s = i ? socket(AF_INET, SOCK_STREAM, 0) : first;
    if (s < 0 || connect(s, (void *)at, sizeof *at)) fail("connect");
    watch(s, EPOLLOUT);
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(poller, events, EVENTS, -1);
    for (int i = 0; i < n; i++)
      if (send(events[i].data.fd, chunk, CHUNK, MSG_NOSIGNAL) < 0 && events[i].events & EPOLLERR) fail("send");
  }
}

int main(int count, char **words) {
  int serving = count > 3 && !strcmp(words[1], "server");
  if (!serving && count < 5) return fprintf(stderr, "usage: flows server IP PORT | client IP PORT COUNT\n"), 2;
  struct rlimit files = {8192, 8192};
  setrlimit(RLIMIT_NOFILE, &files);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(words[3]))};
  if (inet_pton(AF_INET, words[2], &at.sin_addr) != 1) fail("address");
  int s = socket(AF_INET, SOCK_STREAM, 0);
  poller = epoll_create1(0);
  if (serving) receive(s, &at);
  transmit(s, &at, atoi(words[4]));
}
