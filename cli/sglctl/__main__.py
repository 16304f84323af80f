from sglctl.main import main

main()
