int run_client_tests(void);
int run_client_tests(void)
{
    return 0;
}
