/*
 * Descriptors that others of the process, or a child of it, may have to do with.
 *
 * Any thread.
 */
#pragma once

/*
 * Closes a socket, connected or listening, whose other end shall see that now: a child that was forked may have a copy of it, for as
 * long as it executes no program. A negative number is none.
 */
void descriptor_hang_up(int fd);
