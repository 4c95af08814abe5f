/*
 * vmm --help and vmm help TOPIC. One thread.
 */
#pragma once

/* vmm help [TOPIC]: a topic, the name of an option, or all; NULL: as --help. Returns the exit status: 0, or 125 after one line on stderr. */
int help_topic(const char *topic);
