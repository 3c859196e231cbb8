// Cats and dogs, part by part. What tells them apart is small and local: ears, eyes, muzzle, whiskers, tail. Colours,
// pattern, pose, place and everything around come from the same dice for both.

#include "data/animals.h"

#include <numbers>

namespace weft::drawing {

namespace {

constexpr Color kInk{0.10f, 0.08f, 0.08f};
constexpr Color kWhite{0.97f, 0.96f, 0.94f};
constexpr float kBodyScale = 0.75f;  // a large head on a small body, as the young have it
constexpr Color kPink{0.90f, 0.55f, 0.56f};

// What the parts of one animal share.
struct Drawing {
  Canvas& canvas;
  Frame frame;
  const Coat& coat;
  Dice& dice;

  template <typename Shape>
  void fur(const Shape& shape, const Color* tint = nullptr, float opacity = 1, float soft = 0) {
    canvas.fill(
        frame, shape, [&](Point p, float d) { return coat.at(p, d, tint); }, opacity, soft);
  }
  template <typename Shape>
  void flat(const Shape& shape, Color color, float opacity = 1, float soft = 0) {
    canvas.fill(frame, shape, color, opacity, soft);
  }
};

void draw_tail(Drawing& d, Animal animal, float side) {
  float lift = d.dice.between(-0.3f, 0.9f), swing = d.dice.between(0.2f, 0.8f);
  Point root{side * 0.7f, 2.7f};
  if (animal == Animal::cat) {  // long, thin, curled
    Point end{side * (1.5f + swing), 1.3f - lift};
    d.fur(Stroke{curve(root, {side * 2.4f, 3.1f}, {side * (2.2f + swing), 1.9f - lift}, end, 16), 0.15f, 0.11f});
  } else {  // short, tapering, wagging
    Point end{side * (1.35f + 0.6f * swing), 1.5f - 0.7f * lift};
    d.fur(Stroke{curve(root, {side * 1.2f, 2.6f}, {side * 1.5f, 2.2f}, end, 12), 0.26f, 0.07f});
  }
}

void draw_body(Drawing& d, Animal animal) {
  float wide = d.dice.between(0.85f, 1.1f);
  draw_tail(d, animal, d.dice.chance(0.5f) ? 1.0f : -1.0f);
  for (float side : {-1.0f, 1.0f}) d.fur(Ellipse{{side * 0.72f * wide, 2.65f}, 0.55f, 0.62f, side * 0.3f});
  d.fur(Ellipse{{0, 1.9f}, 0.88f * wide, 1.3f, 0});
  if (d.coat.light_face) d.fur(Ellipse{{0, 1.75f}, 0.5f * wide, 0.8f, 0}, &d.coat.light, 0.9f, 0.2f);
  const Color* socks = d.dice.chance(0.3f) ? &d.coat.light : nullptr;
  for (float side : {-1.0f, 1.0f}) {
    float x = side * d.dice.between(0.32f, 0.42f);
    d.fur(Stroke{{{x * 0.9f, 2.0f}, {x, 3.05f}}, 0.26f, 0.22f});
    d.fur(Ellipse{{x * 1.05f, 3.15f}, 0.3f, 0.19f, 0}, socks);
    for (float toe : {-0.1f, 0.1f})
      d.flat(Stroke{{{x * 1.05f + toe, 3.12f}, {x * 1.05f + toe, 3.3f}}, 0.018f, 0.018f}, kInk, 0.5f);
  }
  if (d.dice.chance(0.45f)) {  // a collar, with or without a tag
    Color color = hsv(d.dice.between(0, 1), 0.75f, d.dice.between(0.4f, 0.9f));
    d.flat(Stroke{curve({-0.6f, 0.72f}, {-0.4f, 1.12f}, {0.4f, 1.12f}, {0.6f, 0.72f}), 0.1f, 0.1f}, color);
    if (d.dice.chance(0.5f)) d.flat(Ellipse{{0, 1.18f}, 0.13f, 0.13f, 0}, {0.92f, 0.78f, 0.3f});
  }
}

void draw_cat_ears(Drawing& d, float turn) {
  float tall = d.dice.between(1.3f, 1.6f), apart = d.dice.between(0.7f, 0.88f);
  Color inside = d.dice.chance(0.5f) ? mix(kPink, d.coat.base, d.dice.between(0.3f, 0.7f))
                                     : d.coat.base * (brightness(d.coat.base) > 0.3f ? 0.55f : 1.9f);
  for (float side : {-1.0f, 1.0f}) {
    float near = 1 + 0.25f * side * turn;
    Point tip{side * apart * near + 0.25f * turn, -tall}, inner{side * 0.26f + 0.3f * turn, -0.72f};
    Point outer{side * 0.95f * near, -0.25f};
    Point middle = (tip + inner + outer) * (1 / 3.0f);
    d.fur(Polygon{{tip, inner, outer}, 0.06f});
    auto shrunk = [&](Point p) { return middle + (p - middle) * 0.6f; };
    d.flat(Polygon{{shrunk(tip), shrunk(inner), shrunk(outer)}, 0.03f}, inside, 1, 0.05f);
  }
}

void draw_dog_ears(Drawing& d, float turn, const Color* tint) {
  bool folded = d.dice.chance(0.25f);
  float hang = d.dice.between(0.5f, 1.0f), out = d.dice.between(1.0f, 1.18f), wide = d.dice.between(0.24f, 0.32f);
  for (float side : {-1.0f, 1.0f}) {
    float near = 1 + 0.2f * side * turn;
    if (folded) {  // rises a little, then its tip falls forward
      Point base{side * 0.42f * near + 0.2f * turn, -0.85f}, outer{side * 0.98f * near, -0.62f};
      Point tip{side * (0.8f + 0.2f * hang) * near, -0.12f + 0.3f * hang};
      d.fur(Polygon{{base, {side * 0.72f * near, -1.06f}, outer, tip}, 0.09f}, tint);
    } else {  // hangs down beside the head
      Point root{side * 0.62f * near + 0.15f * turn, -0.72f};
      auto line =
          curve(root, {side * out * near, -0.85f}, {side * (out + 0.12f) * near, -0.1f}, {side * out * near, hang});
      d.fur(Stroke{std::move(line), wide * 0.7f, wide * 1.15f}, tint);
    }
  }
}

// Eyes and noses take their colours from one box for both animals: on a thumbnail, those colours are all that is left.
Color draw_iris(Dice& dice) {
  const Color irises[] = {
      {0.5f, 0.7f, 0.25f}, {0.92f, 0.75f, 0.2f}, {0.4f, 0.65f, 0.85f}, {0.75f, 0.45f, 0.15f}, {0.3f, 0.18f, 0.1f}};
  return irises[dice.below(5)] * dice.between(0.6f, 1.0f);
}

Color draw_nose(Dice& dice) {
  const Color noses[] = {kInk * 1.5f, {0.45f, 0.28f, 0.2f}, kPink};
  return noses[dice.below(3)] * dice.between(0.8f, 1.0f);
}

void draw_cat_face(Drawing& d, float turn) {
  Color iris = draw_iris(d.dice);
  float look = d.dice.between(-0.03f, 0.03f), slit = d.dice.between(0.04f, 0.09f), shift = 0.35f * turn;
  for (float side : {-1.0f, 1.0f}) {
    Point eye{side * 0.42f + shift, -0.08f};
    float slant = side * -0.3f;
    d.flat(Ellipse{eye, 0.27f, 0.205f, slant}, kInk, 0.9f);
    d.flat(Ellipse{eye, 0.225f, 0.165f, slant}, iris);
    d.flat(Ellipse{eye + Point{look, 0}, slit, 0.165f, 0}, kInk);
    d.flat(Ellipse{eye + Point{0.06f, -0.06f}, 0.045f, 0.045f, 0}, kWhite);
  }
  float x = 0.55f * turn;
  const Color* muzzle = d.coat.light_face ? &d.coat.light : nullptr;
  d.fur(Ellipse{{x, 0.56f}, 0.2f, 0.16f, 0}, muzzle);
  for (float side : {-1.0f, 1.0f}) d.fur(Ellipse{{x + side * 0.17f, 0.4f}, 0.23f, 0.18f, side * 0.2f}, muzzle);
  Color nose = draw_nose(d.dice);
  d.flat(Polygon{{{x - 0.1f, 0.2f}, {x + 0.1f, 0.2f}, {x, 0.3f}}, 0.035f}, nose);
  d.flat(Stroke{{{x, 0.3f}, {x, 0.42f}}, 0.022f, 0.022f}, kInk, 0.8f);
  for (float side : {-1.0f, 1.0f}) {
    d.flat(Stroke{curve({x, 0.42f}, {x + side * 0.03f, 0.54f}, {x + side * 0.2f, 0.54f}, {x + side * 0.26f, 0.44f}),
                  0.022f, 0.015f},
           kInk, 0.8f);
  }
  Color hair = brightness(d.coat.base) > 0.45f ? Color{0.25f, 0.22f, 0.2f} : kWhite;
  float droop = d.dice.between(-0.12f, 0.2f), far = d.dice.between(0.95f, 1.3f);
  for (float side : {-1.0f, 1.0f}) {
    for (int i = -1; i <= 1; ++i) {
      Point from{x + side * 0.22f, 0.4f + 0.06f * float(i)};
      Point to{x + side * (far + 0.05f * float(i)), 0.36f + 0.2f * float(i) + droop};
      d.flat(
          Stroke{curve(from, from + Point{side * 0.3f, -0.06f}, (from + to) * 0.5f + Point{side * 0.1f, -0.05f}, to, 6),
                 0.022f, 0.01f},
          hair, 0.9f);
    }
  }
}

void draw_dog_face(Drawing& d, float turn) {
  Color iris = draw_iris(d.dice);
  float shift = 0.35f * turn, gap = d.dice.between(0.34f, 0.42f);
  for (float side : {-1.0f, 1.0f}) {
    Point eye{side * gap + shift, -0.14f};
    d.flat(Ellipse{eye, 0.205f, 0.195f, 0}, kInk, 0.9f);
    d.flat(Ellipse{eye, 0.16f, 0.16f, 0}, iris);
    d.flat(Ellipse{eye, 0.09f, 0.095f, 0}, kInk);
    d.flat(Ellipse{eye + Point{0.05f, -0.06f}, 0.05f, 0.05f, 0}, kWhite);
    d.flat(Stroke{curve(eye + Point{-0.16f, -0.26f}, eye + Point{-0.05f, -0.36f}, eye + Point{0.05f, -0.36f},
                        eye + Point{0.16f, -0.26f}),
                  0.03f, 0.03f},
           d.coat.second, 0.6f);
  }
  float x = 0.75f * turn, full = d.dice.between(0.42f, 0.52f), deep = d.dice.between(0.38f, 0.48f);
  if (d.dice.chance(0.5f)) {  // the tongue, below the snout it hangs from
    float lolls = d.dice.between(-0.12f, 0.12f), y = 0.45f + deep;
    d.flat(Ellipse{{x + lolls, y + 0.08f}, 0.15f, 0.26f, -lolls}, kPink * 0.95f);
    d.flat(Stroke{{{x + lolls, y}, {x + lolls, y + 0.18f}}, 0.015f, 0.015f}, kPink * 0.7f);
  }
  const Color* muzzle = d.coat.light_face ? &d.coat.light : nullptr;
  d.fur(Ellipse{{x, 0.45f}, full, deep, 0}, muzzle);
  d.fur(Ellipse{{0.5f * x, 0.1f}, 0.22f, 0.4f, 0}, muzzle, muzzle ? 0.9f : 0.0f, 0.15f);
  Color nose = draw_nose(d.dice);
  Point tip{x * 1.1f, 0.26f};
  d.flat(Ellipse{tip, 0.21f, 0.145f, 0}, nose);
  for (float side : {-1.0f, 1.0f}) d.flat(Ellipse{tip + Point{side * 0.09f, 0.03f}, 0.04f, 0.03f, 0}, kInk);
  d.flat(Ellipse{tip + Point{-0.05f, -0.07f}, 0.07f, 0.03f, 0}, kWhite, 0.6f);
  d.flat(Stroke{{tip + Point{0, 0.12f}, {x, 0.62f}}, 0.025f, 0.025f}, kInk, 0.8f);
  for (float side : {-1.0f, 1.0f}) {
    d.flat(Stroke{curve({x, 0.62f}, {x + side * 0.1f, 0.74f}, {x + side * 0.28f, 0.72f}, {x + side * 0.36f, 0.56f}),
                  0.025f, 0.018f},
           kInk, 0.8f);
  }
}

}  // namespace

Coat Coat::draw(Dice& dice) {
  // Black, grey, white, cream, ginger, brown, chocolate.
  const Color furs[] = {{0.13f, 0.12f, 0.13f}, {0.5f, 0.5f, 0.53f},   {0.93f, 0.92f, 0.89f}, {0.88f, 0.77f, 0.6f},
                        {0.85f, 0.52f, 0.22f}, {0.55f, 0.37f, 0.22f}, {0.32f, 0.2f, 0.14f}};
  auto fur = [&] { return furs[dice.below(7)] * dice.between(0.85f, 1.08f); };
  Coat coat;
  coat.base = fur();
  coat.second = fur();
  coat.light = mix(coat.base, kWhite, dice.between(0.5f, 1.0f));
  coat.pattern = Pattern(dice.below(4));
  coat.light_face = dice.chance(0.5f);
  coat.light_angle = dice.between(0, 2 * std::numbers::pi_v<float>);
  coat.seed = dice.bits();
  return coat;
}

Color Coat::at(Point p, float distance, const Color* tint) const {
  Color color = tint ? *tint : base;
  float bend = noise(p * 1.7f, seed);
  float second_part = 0;
  switch (pattern) {
    case Pattern::plain:
      break;
    case Pattern::patches:
      second_part = std::clamp((noise(p * 0.9f, seed + 1) - 0.55f) * 12, 0.0f, 1.0f);
      break;
    case Pattern::stripes:
      second_part = std::clamp((std::sin((p.y * 0.8f + p.x * p.x * 0.5f + bend) * 9) - 0.3f) * 2.5f, 0.0f, 0.8f);
      break;
    case Pattern::spots:
      second_part = std::clamp((noise(p * 3.2f, seed + 2) - 0.7f) * 14, 0.0f, 0.9f);
      break;
  }
  if (!tint) color = mix(color, second, second_part);
  float hair = noise({p.x * 22, p.y * 9}, seed + 3) - 0.5f;
  float shade = 1 + 0.16f * hair - 0.1f * (p.x * std::cos(light_angle) + 0.5f * p.y * std::sin(light_angle));
  float rim = std::clamp(1 + distance * 9, 0.0f, 1.0f);  // 1 at the edge, 0 a little inside
  return color * std::clamp(shade * (1 - 0.4f * rim * rim), 0.3f, 1.2f);
}

void draw_animal(Canvas& canvas, const Frame& frame, Animal animal, const Coat& coat, Dice& dice) {
  float tilt = dice.between(-0.22f, 0.22f), turn = dice.between(-0.4f, 0.4f);
  float wide = dice.between(0.92f, 1.06f), tall = dice.between(0.84f, 0.98f);
  Drawing body{canvas, frame, coat, dice};
  body.frame.scale *= kBodyScale;
  canvas.fill(body.frame, Ellipse{{0, 3.3f}, 1.6f, 0.25f, 0}, kInk, 0.35f, 0.3f);  // shadow on the ground
  draw_body(body, animal);
  Drawing head{canvas, frame.inner({0, 0}, tilt), coat, dice};
  const Color* ear_tint = dice.chance(0.5f) ? &coat.second : nullptr;
  if (animal == Animal::cat) draw_cat_ears(head, turn);
  head.fur(Ellipse{{0, 0}, wide, tall, 0});
  for (float side : {-1.0f, 1.0f}) head.fur(Ellipse{{side * 0.42f, 0.3f}, 0.5f, 0.48f, 0}, nullptr, 1, 0.1f);
  if (coat.light_face) head.fur(Ellipse{{0.4f * turn, -0.35f}, 0.14f, 0.5f, 0}, &coat.light, 0.9f, 0.1f);
  if (animal == Animal::cat) {
    draw_cat_face(head, turn);
  } else {
    draw_dog_face(head, turn);
    draw_dog_ears(head, turn, ear_tint);
  }
}

}  // namespace weft::drawing
