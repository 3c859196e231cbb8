#pragma once
// WEFT_SIMT_ASAN is 1 where AddressSanitizer watches, else 0. Include this before asking: an undefined macro counts as
// 0.

#if defined(__SANITIZE_ADDRESS__)
#define WEFT_SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEFT_SIMT_ASAN 1
#endif
#endif
#ifndef WEFT_SIMT_ASAN
#define WEFT_SIMT_ASAN 0
#endif
