# cmake --install and find_package(weft).
