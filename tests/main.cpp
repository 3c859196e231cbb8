// The entry point of every test program. doctest's flags select and list: --list-test-cases, --test-case=..., --help.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
