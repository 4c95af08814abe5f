# What a bug of ours shall meet. Every flag is named: compilers of some distributions have one or the other on by themselves. What each
# costs is in docs/threat-model.md; tests/lint/test_hardening.sh looks for them in what was built.
include(CheckCCompilerFlag)

# No address of the program is known before it runs, and what the linker has filled in cannot be written afterwards. As -fPIE, but that
# libvmm may be part of a shared object too.
target_compile_options(project_options INTERFACE -fPIC -fvisibility=hidden -fstack-protector-strong)
target_link_options(project_options INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
if(NOT VMM_STATIC)
	target_link_options(project_options INTERFACE -pie)
endif()

if(NOT VMM_SANITIZE)
	# Locals begin as zeros, not as what was left there. Sanitizers are to find who relies on that.
	check_c_compiler_flag(-ftrivial-auto-var-init=zero VMM_HAVE_ZERO_INIT)
	if(VMM_HAVE_ZERO_INIT)
		target_compile_options(project_options INTERFACE -ftrivial-auto-var-init=zero)
	endif()
	# The C library's functions look at the size of what they write to; without an optimizer they cannot. A distribution that has
	# flags of its own may ask for more.
	string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
	if(NOT "${CMAKE_C_FLAGS} ${CMAKE_C_FLAGS_${type}}" MATCHES "-D *_FORTIFY_SOURCE")
		target_compile_options(project_options INTERFACE $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE>
			$<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
	endif()
endif()

# A shadow stack (CET), where the C library's own start files allow one: with others the program cannot have it.
set(CMAKE_REQUIRED_FLAGS "-fno-lto -fcf-protection=full")
set(CMAKE_REQUIRED_LINK_OPTIONS -Wl,-z,cet-report=error)
check_c_source_compiles("int main(void) { return 0; }" VMM_HAVE_CET)
unset(CMAKE_REQUIRED_FLAGS)
unset(CMAKE_REQUIRED_LINK_OPTIONS)
if(VMM_HAVE_CET)
	target_compile_options(project_options INTERFACE -fcf-protection=full)
endif()
