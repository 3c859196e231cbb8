// What surrounds the drawn animal, and the photographer's part: light, blur, grain.

#include <numbers>

#include "data/animals.h"

namespace weft::drawing {

namespace {

// Often one that a fur could have, so that the animal is not simply what is brown.
Color any_color(Dice& dice, float most_saturated = 0.7f) {
  if (dice.chance(0.55f)) return hsv(dice.between(0.02f, 0.13f), dice.between(0.1f, 0.8f), dice.between(0.15f, 0.98f));
  return hsv(dice.between(0, 1), dice.between(0.05f, most_saturated), dice.between(0.15f, 0.98f));
}

void draw_meadow(Canvas& canvas, Dice& dice) {
  float horizon = dice.between(0.25f, 0.7f);
  Color sky_top = hsv(dice.chance(0.6f) ? dice.between(0.5f, 0.75f) : dice.between(0.0f, 0.1f),
                      dice.between(0.1f, 0.7f), dice.between(0.3f, 1.0f));
  Color sky_low = mix(sky_top, {1, 0.9f, 0.8f}, dice.between(0.2f, 0.8f));
  Color grass = hsv(dice.between(0.08f, 0.36f), dice.between(0.2f, 0.8f), dice.between(0.2f, 0.85f));  // dry to lush
  uint32_t seed = dice.bits();
  canvas.cover([&](Point p, Color) {
    float hill = horizon + 0.12f * (noise({p.x * 3, 0}, seed) - 0.5f);
    if (p.y < hill) return mix(sky_top, sky_low, p.y / hill) * (0.94f + 0.12f * noise(p * 4, seed + 1));
    return grass * (0.7f + 0.5f * noise({p.x * 45, p.y * 14}, seed + 2) + 0.2f * (p.y - hill));
  });
  for (int i = dice.below(12); i > 0; --i) {  // flowers
    Frame frame{{dice.between(0, 1) * float(canvas.size()), dice.between(horizon + 0.1f, 1) * float(canvas.size())},
                float(canvas.size()) * dice.between(0.012f, 0.03f)};
    canvas.fill(frame, Ellipse{{0, 0}, 1, 1, 0}, any_color(dice, 0.9f));
  }
}

void draw_room(Canvas& canvas, Dice& dice) {
  float floor_line = dice.between(0.55f, 0.9f), stripes = dice.between(6, 24), boards = dice.between(4, 14);
  Color wall = any_color(dice, 0.5f), floor = any_color(dice, 0.6f), paper = mix(wall, any_color(dice), 0.25f);
  int kind = dice.below(3);
  uint32_t seed = dice.bits();
  canvas.cover([&](Point p, Color) {
    if (p.y > floor_line) {
      float board = std::fmod(p.y * boards, 1.0f) < 0.1f ? 0.75f : 1.0f;
      return floor * (board * (0.85f + 0.3f * noise({p.x * 5, p.y * 40}, seed)));
    }
    bool on = kind == 0 ? std::fmod(p.x * stripes, 1.0f) < 0.5f
              : kind == 1
                  ? length({std::fmod(p.x * stripes, 1.0f) - 0.5f, std::fmod(p.y * stripes, 1.0f) - 0.5f}) < 0.25f
                  : false;
    return (on ? paper : wall) * (0.93f + 0.14f * noise(p * 3, seed + 1));
  });
  Frame frame{{0, 0}, float(canvas.size())};
  if (dice.chance(0.5f)) {  // a picture, or a window, on the wall
    float x = dice.between(0.05f, 0.75f), y = dice.between(0.02f, 0.3f), w = dice.between(0.12f, 0.3f),
          h = dice.between(0.12f, 0.3f);
    canvas.fill(frame, Polygon{{{x, y}, {x + w, y}, {x + w, y + h}, {x, y + h}}, 0.015f}, any_color(dice));
    canvas.fill(frame, Polygon{{{x, y}, {x + w, y}, {x + w, y + h}, {x, y + h}}, -0.01f}, any_color(dice));
  }
}

void draw_blanket(Canvas& canvas, Dice& dice) {
  Color one = any_color(dice), two = mix(one, any_color(dice), 0.5f);
  float angle = dice.between(0, std::numbers::pi_v<float>), checks = dice.between(3, 12);
  uint32_t seed = dice.bits();
  canvas.cover([&](Point p, Color) {
    Point q = rotated(p, angle) * checks + Point{20, 20};
    float weave = 0.5f * float(std::fmod(q.x, 1.0f) < 0.5f) + 0.5f * float(std::fmod(q.y, 1.0f) < 0.5f);
    return mix(one, two, weave) * (0.75f + 0.4f * noise(p * 3.5f, seed) + 0.1f * noise(p * 60, seed + 1));
  });
}

void draw_lights(Canvas& canvas, Dice& dice) {
  Color one = any_color(dice), two = any_color(dice);
  float angle = dice.between(0, 6.28f);
  canvas.cover([&](Point p, Color) {
    return mix(one, two, 0.5f + 0.7f * dot(rotated({1, 0}, angle), p - Point{0.5f, 0.5f}));
  });
  for (int i = 6 + dice.below(12); i > 0; --i) {
    Frame frame{{dice.between(0, 1) * float(canvas.size()), dice.between(0, 1) * float(canvas.size())},
                float(canvas.size()) * dice.between(0.04f, 0.14f)};
    canvas.fill(frame, Ellipse{{0, 0}, 1, 1, 0}, any_color(dice), dice.between(0.2f, 0.6f), 0.2f);
  }
}

// Binomial blur over 3 x 3 pixels.
void blur(Canvas& canvas, float amount) {
  Canvas before = canvas;
  int last = canvas.size() - 1;
  for (int y = 0; y <= last; ++y) {
    for (int x = 0; x <= last; ++x) {
      Color sum;
      for (int dy = -1; dy <= 1; ++dy) {
        for (int dx = -1; dx <= 1; ++dx) {
          float weight = float((2 - dx * dx) * (2 - dy * dy)) / 16;
          sum = sum + before.at(std::clamp(x + dx, 0, last), std::clamp(y + dy, 0, last)) * weight;
        }
      }
      canvas.at(x, y) = mix(before.at(x, y), sum, amount);
    }
  }
}

}  // namespace

void draw_background(Canvas& canvas, Dice& dice) {
  draw_background(canvas, dice, Background(dice.below(4)));
}

void draw_background(Canvas& canvas, Dice& dice, Background background) {
  switch (background) {
    case Background::meadow:
      draw_meadow(canvas, dice);
      break;
    case Background::room:
      draw_room(canvas, dice);
      break;
    case Background::blanket:
      draw_blanket(canvas, dice);
      break;
    case Background::lights:
      draw_lights(canvas, dice);
      break;
  }
  float size = float(canvas.size());
  for (int i = dice.below(3); i > 0; --i) {  // balls lying about, pink ones too: a tongue's colour is no giveaway
    Frame frame{{dice.between(0, 1) * size, dice.between(0.6f, 1) * size}, size * dice.between(0.03f, 0.1f)};
    Color color = any_color(dice, 0.9f);
    canvas.fill(frame, Ellipse{{0, 0}, 1, 1, 0},
                [&](Point p, float) { return color * (0.9f - 0.35f * (p.x + p.y) * 0.7f); });
  }
}

void finish(Canvas& canvas, Dice& dice) {
  if (dice.chance(0.4f)) blur(canvas, dice.between(0.2f, 0.8f));
  float exposure = dice.between(0.7f, 1.2f), contrast = dice.between(0.8f, 1.15f), warmth = dice.between(-0.08f, 0.08f);
  float angle = dice.between(0, 6.28f), slope = dice.between(0, 0.4f), vignette = dice.between(0, 0.5f);
  float grain = dice.between(0.005f, 0.03f);
  canvas.cover([&](Point p, Color c) {
    Point q = p - Point{0.5f, 0.5f};
    float light = exposure * (1 + slope * dot(rotated({1, 0}, angle), q)) * (1 - vignette * dot(q, q));
    auto shade = [&](float v, float gain) {
      return ((v - 0.5f) * contrast + 0.5f) * light * (1 + gain) + grain * (dice.between(-1, 1) + dice.between(-1, 1));
    };
    return Color{shade(c.r, warmth), shade(c.g, 0), shade(c.b, -warmth)};
  });
}

}  // namespace weft::drawing
