int run_flood_tests(void);
int run_flood_tests(void)
{
    return 0;
}
