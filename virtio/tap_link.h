/*
 * The state of a host network interface, and its changes, through rtnetlink.
 *
 * Works for an interface of this process's network namespace; elsewhere, or where netlink is forbidden, the
 * state stays as tap_link_init() left it: up, with an unknown MTU. The socket tells of that interface alone, whoever asks it.
 *
 * Owner: struct tap. One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <linux/if_ether.h>

struct tap_link {
	/* immutable after open */
	int fd; /* readable when something may have changed; -1: nothing to watch */
	unsigned int ifindex;
	/* owned by the thread that reads */
	bool up;	  /* administratively up, with a carrier */
	bool gone;	  /* deleted, or in another namespace now; up is false then */
	unsigned int mtu; /* bytes; 0: unknown */
	uint8_t mac[ETH_ALEN];
};

/* Up, MTU unknown, nothing to watch. */
void tap_link_init(struct tap_link *link);

/* Finds the interface and reads its state. Returns 0 or negative errno; link is then as after init. */
int tap_link_open(struct tap_link *link, const char *name);

/* Reads what is queued, without waiting. Returns whether up changed. */
bool tap_link_read(struct tap_link *link);

void tap_link_close(struct tap_link *link);
