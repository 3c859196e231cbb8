// JPEG through libjpeg-turbo's scanline interface (libjpeg.txt, "Decompression details").

#include <fmt/format.h>
// jpeglib.h needs stdio.h before it.
#include <cstdio>

#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <cstdlib>
#include <cstring>

#include "data/codec.h"
#include "kernels/error.h"

namespace weft {

namespace {

// libjpeg reports a fatal error through a function that must not return. It jumps back to guarded(), which throws;
// nothing with a destructor lives between the two.
struct ErrorManager {
  jpeg_error_mgr base;  // first, so that libjpeg's pointer is also a pointer to this
  jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
  int warnings;
  bool ran_out;  // the decoder wanted bits that were not there
  char first_warning[JMSG_LENGTH_MAX];
};

ErrorManager& errors_of(j_common_ptr cinfo) {
  return *reinterpret_cast<ErrorManager*>(cinfo->err);
}

[[noreturn]] void on_error(j_common_ptr cinfo) {
  (*cinfo->err->format_message)(cinfo, errors_of(cinfo).message);
  longjmp(errors_of(cinfo).jump, 1);
}

void on_message(j_common_ptr cinfo, int level) {
  if (level >= 0) return;  // a trace, not a warning
  ErrorManager& errors = errors_of(cinfo);
  if (cinfo->err->msg_code == JWRN_HIT_MARKER) errors.ran_out = true;
  if (errors.warnings++ == 0) (*cinfo->err->format_message)(cinfo, errors.first_warning);
}

void set_up_errors(ErrorManager& errors) {
  std::memset(&errors, 0, sizeof errors);
  jpeg_std_error(&errors.base);
  errors.base.error_exit = on_error;
  errors.base.emit_message = on_message;
  errors.base.output_message = [](j_common_ptr) {};
}

/// Runs a step; false if libjpeg gave up in it, with `errors.message` set.
template <typename Step>
bool succeeds(ErrorManager& errors, Step&& step) {
  if (setjmp(errors.jump)) return false;
  step();
  return true;
}

// libjpeg's own memory source warns at the end of the data even when only the end marker is missing and no pixel is, so
// this one keeps count itself: whether pixels are missing is told by JWRN_HIT_MARKER.
struct Source {
  jpeg_source_mgr base;
  bool at_end;
};

boolean fill_at_end(j_decompress_ptr cinfo) {
  static const JOCTET end_marker[] = {0xFF, JPEG_EOI};
  reinterpret_cast<Source*>(cinfo->src)->at_end = true;
  cinfo->src->next_input_byte = end_marker;
  cinfo->src->bytes_in_buffer = 2;
  return TRUE;
}

void skip_input(j_decompress_ptr cinfo, long count) {
  if (count <= 0) return;
  if (size_t(count) >= cinfo->src->bytes_in_buffer) {
    fill_at_end(cinfo);
  } else {
    cinfo->src->next_input_byte += count;
    cinfo->src->bytes_in_buffer -= size_t(count);
  }
}

// Pillow's CMYK;I followed by CMYK to RGB (libImaging/Convert.c, cmyk2rgb): the file's values are inverted, as Adobe's.
void cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb, int count) {
  for (int i = 0; i < count; ++i, cmyk += 4, rgb += 3) {
    int white = cmyk[3];  // 255 - black
    for (int c = 0; c < 3; ++c) {
      int product = (255 - cmyk[c]) * white + 128;
      rgb[c] = uint8_t(white - (((product >> 8) + product) >> 8));
    }
  }
}

class JpegCodec : public Codec {
 public:
  JpegCodec(std::span<const uint8_t> bytes, const std::string& name) : name_(name) {
    set_up_errors(errors_);
    std::memset(&source_, 0, sizeof source_);
    std::memset(&decoder_, 0, sizeof decoder_);
    decoder_.err = &errors_.base;
    try {
      read_header(bytes);
    } catch (...) {
      jpeg_destroy_decompress(&decoder_);
      throw;
    }
  }
  ~JpegCodec() override { jpeg_destroy_decompress(&decoder_); }
  JpegCodec(const JpegCodec&) = delete;
  JpegCodec& operator=(const JpegCodec&) = delete;

  const char* format() const override { return "JPEG"; }

  Image read(Box region, int reduce) override {
    bool cmyk = decoder_.jpeg_color_space == JCS_CMYK || decoder_.jpeg_color_space == JCS_YCCK;
    decoder_.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    decoder_.scale_num = 1;
    decoder_.scale_denom = unsigned(reduce);
    guarded([&] { jpeg_start_decompress(&decoder_); });

    int right = (region.x + region.width + reduce - 1) / reduce,
        bottom = (region.y + region.height + reduce - 1) / reduce;
    region = {region.x / reduce, region.y / reduce, 0, 0};
    region.width = std::min(right, int(decoder_.output_width)) - region.x;
    region.height = std::min(bottom, int(decoder_.output_height)) - region.y;

    JDIMENSION left = 0, columns = decoder_.output_width;
    if (region.width < int(columns)) {
      // A block more on either side: upsampled chroma looks at its neighbours.
      int margin = decoder_.max_h_samp_factor * DCTSIZE;
      left = JDIMENSION(std::max(0, region.x - margin));
      columns = JDIMENSION(std::min(int(decoder_.output_width), region.x + region.width + margin)) - left;
      guarded([&] { jpeg_crop_scanline(&decoder_, &left, &columns); });
    }
    Image image(region.width, region.height);
    std::vector<uint8_t> line(size_t(columns) * decoder_.output_components + 64);
    uint8_t* line_start = line.data();
    const uint8_t* wanted = line_start + size_t(region.x - int(left)) * decoder_.output_components;
    uint8_t* out = image.rgb.data();
    guarded([&] {
      if (region.y > 0) jpeg_skip_scanlines(&decoder_, JDIMENSION(region.y));
      for (int y = 0; y < region.height; ++y, out += size_t(3) * region.width) {
        jpeg_read_scanlines(&decoder_, &line_start, 1);
        if (cmyk) {
          cmyk_to_rgb(wanted, out, region.width);
        } else {
          std::memcpy(out, wanted, size_t(3) * region.width);
        }
      }
    });
    // A progressive file may end between two scans: every pixel is there, but blurred.
    if (source_.at_end && (errors_.ran_out || jpeg_has_multiple_scans(&decoder_))) {
      fail_short();
    }
    jpeg_abort_decompress(&decoder_);
    warnings = errors_.warnings;
    first_warning = errors_.first_warning;
    return image;
  }

 private:
  template <typename Step>
  void guarded(Step&& step) {
    if (succeeds(errors_, step)) return;
    if (source_.at_end) fail_short();
    fail(fmt::format("{}: broken JPEG: {}", name_, errors_.message));
  }

  [[noreturn]] void fail_short() const { fail(fmt::format("{}: the JPEG is cut short (truncated)", name_)); }

  void read_header(std::span<const uint8_t> bytes) {
    guarded([&] {
      jpeg_create_decompress(&decoder_);
      source_.base.init_source = [](j_decompress_ptr) {};
      source_.base.fill_input_buffer = fill_at_end;
      source_.base.skip_input_data = skip_input;
      source_.base.resync_to_restart = jpeg_resync_to_restart;
      source_.base.term_source = [](j_decompress_ptr) {};
      source_.base.next_input_byte = bytes.data();
      source_.base.bytes_in_buffer = bytes.size();
      decoder_.src = &source_.base;
      jpeg_save_markers(&decoder_, JPEG_APP0 + 1, 0xFFFF);
      jpeg_read_header(&decoder_, TRUE);
    });
    if (decoder_.jpeg_color_space == JCS_UNKNOWN) {
      fail(fmt::format("{}: a JPEG of {} components; grey, RGB, YCbCr, CMYK and YCCK are read", name_,
                       decoder_.num_components));
    }
    width = int(decoder_.image_width);
    height = int(decoder_.image_height);
    check_picture_size(width, height, name_);
    for (jpeg_saved_marker_ptr marker = decoder_.marker_list; marker; marker = marker->next) {
      if (marker->data_length > 6 && std::memcmp(marker->data, "Exif\0", 6) == 0) {
        orientation = exif_orientation({marker->data, marker->data_length});
        break;
      }
    }
  }

  std::string name_;
  jpeg_decompress_struct decoder_;
  ErrorManager errors_;
  Source source_;
};

}  // namespace

std::unique_ptr<Codec> open_jpeg(std::span<const uint8_t> bytes, const std::string& name) {
  return std::make_unique<JpegCodec>(bytes, name);
}

std::vector<uint8_t> encode_jpeg(const Image& image, int quality) {
  struct Encoder {  // frees what libjpeg holds, however the function is left
    jpeg_compress_struct compressor;
    ErrorManager errors;
    unsigned char* buffer = nullptr;
    unsigned long size = 0;
    ~Encoder() {
      jpeg_destroy_compress(&compressor);
      std::free(buffer);
    }
  } encoder;
  std::memset(&encoder.compressor, 0, sizeof encoder.compressor);
  set_up_errors(encoder.errors);
  jpeg_compress_struct& compressor = encoder.compressor;
  compressor.err = &encoder.errors.base;
  bool done = succeeds(encoder.errors, [&] {
    jpeg_create_compress(&compressor);
    jpeg_mem_dest(&compressor, &encoder.buffer, &encoder.size);
    compressor.image_width = JDIMENSION(image.width);
    compressor.image_height = JDIMENSION(image.height);
    compressor.input_components = 3;
    compressor.in_color_space = JCS_RGB;
    jpeg_set_defaults(&compressor);
    jpeg_set_quality(&compressor, quality, TRUE);
    jpeg_start_compress(&compressor, TRUE);
    for (int y = 0; y < image.height; ++y) {
      JSAMPROW row = const_cast<uint8_t*>(image.row(y));
      jpeg_write_scanlines(&compressor, &row, 1);
    }
    jpeg_finish_compress(&compressor);
  });
  if (!done) fail(fmt::format("JPEG encoder: failed: {}", encoder.errors.message));
  return {encoder.buffer, encoder.buffer + encoder.size};
}

}  // namespace weft
