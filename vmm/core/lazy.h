/*
 * Large arrays of which little is used at a time.
 *
 * Any thread.
 */
#pragma once

#include <stddef.h>

/*
 * calloc(), whose pages come one by one as they are touched: a host that uses huge pages wherever it can
 * (/sys/kernel/mm/transparent_hugepage/enabled: always) gives none here, of which one touched byte would take 2 MiB. For what is as
 * large as many pages. Returns NULL when there is no memory; to be given to free().
 */
void *lazy_calloc(size_t n, size_t size);
