/*
 * UNSET, before a large local on a hot path, or on a stack of which little else is touched: it is filled before it is read, so the compiler
 * does not make it zeros first, as it does with all others (cmake/hardening.cmake).
 */
#pragma once

#ifdef __has_attribute
#if __has_attribute(uninitialized)
#define UNSET __attribute__((uninitialized))
#endif
#endif
#ifndef UNSET
#define UNSET
#endif
