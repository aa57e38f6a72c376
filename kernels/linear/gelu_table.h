// SPDX-License-Identifier: Apache-2.0
// The tables of gelu-inl.h, which says what they hold.
#pragma once
#include <cstddef>

namespace hh::cpu {

/// Coefficient k of piece i is coefficients[k][i]; the eight are there twice, to fill 16 lanes.
template <std::size_t kDegree>
struct PiecewiseTable {
  float scale;  // pieces per unit
  alignas(64) float coefficients[kDegree + 1][16];

  constexpr PiecewiseTable(float scale_in, const float (&values)[kDegree + 1][8])
      : scale(scale_in), coefficients() {
    for (std::size_t k = 0; k <= kDegree; ++k) {
      for (std::size_t i = 0; i < 16; ++i) coefficients[k][i] = values[k][i % 8];
    }
  }
};

/// Q(a) = 1 - Phi(a) within 0.7 units of 2^-24, absolutely, evaluated in float32. Exactly 1/2 at 0;
/// 0 from a = 5.6 on, where Q is 1e-8.
inline constexpr float kNormalTailValues[7][8] = {
    {0.5f, 0.211855397f, 0.0547992885f, 0.00819753576f, 0.000687138236f, 3.1671203e-05f,
     7.93311472e-07f, 0},
    {-0.319153845f, -0.231753379f, -0.0887368023f, -0.0179155283f, -0.00190726086f,
     -0.000107073225f, -3.17057743e-06f, -1.58770615e-06f},
    {9.42353267e-07f, 0.0741609111f, 0.0567916781f, 0.0171990022f, 0.0024412761f, 0.000171306499f,
     6.08622122e-06f, -3.56775963e-05f},
    {0.0340299234f, 0.00890406128f, -0.0147612421f, -0.00909945183f, -0.00188011688f,
     -0.000171012711f, -7.40113001e-06f, -0.000304798712f},
    {8.23751325e-05f, -0.00933099352f, -0.00133596093f, 0.00253171544f, 0.00094317575f,
     0.000118706441f, 6.47549405e-06f, -0.00117246248f},
    {-0.00352702406f, 0.000300801155f, 0.00172154419f, -7.39881143e-05f, -0.000299730833f,
     -6.18936319e-05f, -4.66907659e-06f, -0.00208126963f},
    {0.000401645957f, 0.000737738272f, -0.000243800358f, -0.000184789489f, 4.56777925e-05f,
     2.19895246e-05f, 2.33656829e-06f, -0.00138533139f},
};
inline constexpr PiecewiseTable<6> kNormalTail(1.25f, kNormalTailValues);

/// K(a) = Phi(a) + a phi(a) - 1/2 within 1 unit of 2^-24, absolutely, evaluated in float32. Exactly
/// 0 at 0; 1/2 from a = 6.2 on.
inline constexpr float kGeluSlopeValues[8][8] = {
    {0, 0.551851153f, 0.608327627f, 0.526558936f, 0.502362013f, 0.500086665f, 0.500001371f, 0.5f},
    {0.709230721f, 0.289018422f, -0.0847438127f, -0.0517743565f, -0.00678593572f, -0.000323372573f,
     -6.24394897e-06f, -1.90245396e-06f},
    {-3.07717983e-07f, -0.302925825f, -0.0484392978f, 0.0373502672f, 0.00870993361f,
     0.000567071547f, 1.35106484e-05f, -5.89597366e-05f},
    {-0.18678534f, 0.0285162535f, 0.07822752f, -0.00638995599f, -0.00632520998f, -0.000613846059f,
     -1.90914088e-05f, -0.000708257256f},
    {-7.64676297e-05f, 0.0616930462f, -0.0257100258f, -0.00763446558f, 0.002554056f,
     0.000449498388f, 2.07099765e-05f, -0.00404160749f},
    {0.0335626155f, -0.0158737674f, -0.00569127407f, 0.005526789f, -0.000298529427f,
     -0.000232729974f, -1.41078499e-05f, -0.011848243f},
    {-0.000826663512f, -0.00672041392f, 0.00529510388f, -0.00107299793f, -0.000248111202f,
     8.59920692e-05f, 3.79757671e-06f, -0.0172244608f},
    {-0.00333854253f, 0.00264540478f, -0.000501121045f, -0.000332639262f, 0.000176159097f,
     -1.1953287e-05f, -3.74358387e-06f, -0.00983899366f},
};
inline constexpr PiecewiseTable<7> kGeluSlope(1.125f, kGeluSlopeValues);

}  // namespace hh::cpu
