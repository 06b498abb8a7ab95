// Floating point, from the processor and from libc.
#include "observe.h"
#include <fenv.h>
#include <math.h>

int main(void) {
    volatile double one = 1, three = 3, huge = 1e308, zero = 0;
    printf("%.17g %.17g %g %g\n", one / three, sqrt(2 * one), huge * 10, -one / zero);
    printf("%.15f %.15f %.15f\n", sin(one), exp(one), log(three));
    printf("%d\n", isnan(zero / zero));
    feclearexcept(FE_ALL_EXCEPT);
    volatile double inexact = one / three;
    printf("inexact %d, divide by zero %d\n", fetestexcept(FE_INEXACT) != 0, fetestexcept(FE_DIVBYZERO) != 0);
    static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        fesetround(modes[i]);
        // The rounding mode survives calls into the kernel.
        getppid();
        volatile double third = one / three;
        printf("%.20f %ld\n", third, lrint(2.5 * one));
    }
    fesetround(FE_TONEAREST);
    volatile long double wide = 1.0L / 3.0L;
    printf("%.21Lf\n", wide);
    char text[64];
    snprintf(text, sizeof text, "%a %e %G", 0.1, 1e-300, 1e20);
    puts(text);
    printf("%.17g %.17g\n", strtod("0x1.8p1", NULL), strtod("2.2250738585072011e-308", NULL));
    return inexact > 1;
}
