# Which sanitizer a program or library was built with; sourced.
# shellcheck shell=bash disable=SC2034 # for those who source this

sanitizers=$(dirname "${BASH_SOURCE[0]}")

# sanitizer_of FILE - address, thread or nothing
sanitizer_of() {
	case $(nm "$1" 2>/dev/null) in
	*__asan_init*) echo address ;;
	*__tsan_init*) echo thread ;;
	esac
}

# sanitized FILE - was it built with one?
sanitized() {
	[ -n "$(sanitizer_of "$1")" ]
}

# sanitizer_flags LIBRARY - sets $flags to what a program takes that is linked with it
sanitizer_flags() {
	flags=()
	case $(sanitizer_of "$1") in
	address) flags=('-fsanitize=address,undefined' -fno-sanitize-recover=all) ;;
	thread) flags=(-fsanitize=thread -Wno-tsan "$sanitizers/tsan/window.c") ;;
	esac
}
