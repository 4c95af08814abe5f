# Part of an installation: makes ${folders}, below the prefix or absolute, before files go there. CMake would give each by
# CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS its mode, but not those that are above it.
foreach(folder ${folders})
	get_filename_component(folder "${folder}" ABSOLUTE BASE_DIR "${CMAKE_INSTALL_PREFIX}")
	execute_process(COMMAND sh -c "umask 022 && exec mkdir -p -- \"$1\"" sh "$ENV{DESTDIR}${folder}")
endforeach()
