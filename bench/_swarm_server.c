/* The server of the swarm's benchmark: HTTP/1.1 over one level-triggered epoll loop, as cheap as C makes it.
 *
 * usage: server PORT DELAY_US. Every read is taken for one whole request. With a delay, answers leave that long after
 * their request, in order, by a timerfd. PORT 0 takes any; the port is the first line of its output. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, QUEUE = 1 << 17 };

static const char ANSWER[] = "HTTP/1.1 200 OK\r\nServer: c\r\nContent-Type: text/plain\r\n"
                             "Content-Length: 13\r\n\r\nHello, World!";
static struct { uint64_t due_ns; int fd; } queue[QUEUE]; /* first in, first out: the delay is the same for all */
static unsigned head, tail;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void add(int loop, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

static int listener(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) || listen(fd, 4096)) die("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &size)) die("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_all(int loop, int fd) {
    int one = 1, client;
    while ((client = accept4(fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        add(loop, client);
    }
}

static void answer(int fd) {
    if (write(fd, ANSWER, sizeof ANSWER - 1) < 0) return; /* the client has gone: its end will be read */
}

static void arm(int timer) {
    struct itimerspec at = {{0, 0}, {0, 0}};
    if (head != tail) {
        at.it_value.tv_sec = (time_t)(queue[head % QUEUE].due_ns / 1000000000u);
        at.it_value.tv_nsec = (long)(queue[head % QUEUE].due_ns % 1000000000u);
    }
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static void answer_due(int timer) {
    uint64_t expirations, now = now_ns();
    if (read(timer, &expirations, sizeof expirations) < 0) return;
    while (head != tail && queue[head % QUEUE].due_ns <= now) answer(queue[head++ % QUEUE].fd);
    arm(timer);
}

int main(int count, char **argument) {
    static char request[65536];
    struct epoll_event events[EVENTS];
    struct rlimit files;
    if (count != 3) return fprintf(stderr, "usage: %s PORT DELAY_US\n", argument[0]), 2;
    uint64_t delay_ns = strtoull(argument[2], NULL, 10) * 1000;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int loop = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int listening = listener(atoi(argument[1]));
    add(loop, listening);
    add(loop, timer);
    for (;;) {
        int ready = epoll_wait(loop, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listening) {
                accept_all(loop, fd);
            } else if (fd == timer) {
                answer_due(timer);
            } else if (read(fd, request, sizeof request) <= 0) {
                close(fd);
            } else if (!delay_ns) {
                answer(fd);
            } else {
                queue[tail % QUEUE].due_ns = now_ns() + delay_ns;
                queue[tail % QUEUE].fd = fd;
                if (tail++ == head) arm(timer);
            }
        }
    }
}
