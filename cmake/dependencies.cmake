# Libraries that libvmm uses beside libc, as the target vmm_dependencies, and as VMM_LIBS for those who link libvmm.a by hand.
# libfdt and zlib must be there; the others each serve one thing and are on when pkg-config finds them.
# The program takes them in (their static archives) where it can: each shared library costs it half a millisecond and some
# tens of kilobytes at every start.
option(VMM_SHARED_LIBS "Use shared libraries for all but what has no other" OFF)
add_library(vmm_dependencies INTERFACE)
target_link_libraries(vmm_dependencies INTERFACE Threads::Threads)
set(VMM_LIBS "-pthread")
set(VMM_SUMMARY "")

# Sets ${out} to what the linker is given for -l${name}.
function(vmm_link_name name out)
	unset(archive CACHE)
	if(NOT VMM_SHARED_LIBS)
		find_library(archive lib${name}.a)
	endif()
	if(archive)
		set(${out} ${archive} PARENT_SCOPE)
	else()
		set(${out} -l${name} PARENT_SCOPE)
	endif()
	unset(archive CACHE)
endfunction()

# vmm_use_library(NAME HEADER) - one that must be there; Debian's libfdt has no pkg-config file, so none is asked for
function(vmm_use_library name header)
	find_path(${name}_INCLUDE ${header})
	find_library(${name}_LIBRARY ${name})
	if(NOT ${name}_INCLUDE OR NOT ${name}_LIBRARY)
		message(FATAL_ERROR "vmm needs lib${name} and its header ${header} (Debian: libfdt-dev, zlib1g-dev)")
	endif()
	target_include_directories(vmm_dependencies INTERFACE ${${name}_INCLUDE})
	vmm_link_name(${name} link)
	target_link_libraries(vmm_dependencies INTERFACE ${link})
	set(VMM_LIBS "${VMM_LIBS} -l${name}" PARENT_SCOPE)
endfunction()

# vmm_try_library(MODULE MACRO COST) - one that serves a single thing; COST says what is missing without it
function(vmm_try_library module macro cost)
	set(summary "${module}: off (${cost})")
	if(PkgConfig_FOUND)
		pkg_check_modules(${macro} QUIET ${module})
	endif()
	if(${macro}_FOUND)
		# Not pkg-config's imported target, which is the shared library even for a static program.
		target_include_directories(vmm_dependencies INTERFACE ${${macro}_INCLUDE_DIRS})
		target_link_directories(vmm_dependencies INTERFACE ${${macro}_LIBRARY_DIRS})
		foreach(name ${${macro}_LIBRARIES})
			vmm_link_name(${name} link)
			target_link_libraries(vmm_dependencies INTERFACE ${link})
		endforeach()
		target_compile_definitions(vmm_dependencies INTERFACE ${macro}=1)
		string(REPLACE ";" " -l" names "${${macro}_LIBRARIES}")
		set(VMM_LIBS "${VMM_LIBS} -l${names}" PARENT_SCOPE)
		set(summary "${module}: on")
	endif()
	set(VMM_SUMMARY "${VMM_SUMMARY}\n     ${summary}" PARENT_SCOPE)
endfunction()

find_package(PkgConfig QUIET)
vmm_use_library(fdt libfdt.h)
vmm_use_library(z zlib.h)
vmm_try_library(liburing VMM_HAVE_URING "disks use threads instead of io_uring")
vmm_try_library(libzstd VMM_HAVE_ZSTD "no zstd-compressed qcow2 clusters")
